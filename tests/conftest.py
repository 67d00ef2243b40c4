import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports torch
