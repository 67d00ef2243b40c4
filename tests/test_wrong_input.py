# ruff: noqa: E501 - one wrong input, one line
"""Wrong input of every kind: one line that names file and key, before anything is written."""

import copy
import csv
import io
import json

import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from contrastive_inversion import papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.yaml_files import read_yaml
from contrastive_inversion.ledger import accepted as accepted_of
from contrastive_inversion.ledger import plan, printed, quantities
from contrastive_inversion.ledger.study import Study, StudyFile, typed
from contrastive_inversion.papers.contrastive_robustness import raw as distances
from contrastive_inversion.papers.inverse_problems import raw
from contrastive_inversion.run import cli, ready
from contrastive_inversion.show import page
from flow import snakemake
from ledgers import study_but, write_rows

LESS = "tables: [1]\nfigures: []\n"  # of the smoke study: quick to read
GLYPHS = "data: {cifar10: {source: glyphs, stored: 54, test: 8, %s}}\n"
STUDENT = "networks: {student: {architecture: %s, model: %s}}\n"
MIX = "distortions: {mix: [{op: %s}]}\n"

BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]\n" for n in range(1, 10))

STUDIES = [
    # what is no mapping, no YAML, no text
    ("[1, 2]\n", "not valid YAML"),
    ("seed: [\n", "not valid YAML"),
    ("seed: 1\nseed: 2\n", "the key 'seed' twice"),
    ("distill: {lr: 0.1, lr: 0.2}\n", "the key 'lr' twice"),
    ("data: {cifar10: {source: cifar10}, cifar10: {source: cifar10}}\n", "the key 'cifar10' twice"),
    ("distill: &a {lr: *a}\n", "not valid YAML"),
    ("also: &a [*a]\n", "not valid YAML"),
    ("seed: *nowhere\n", "undefined alias"),
    (BOMB, "its aliases stand for too much"),
    ("seed: 2020-13-45\n", "not valid YAML"),
    ("seed: !!python/object:os.system {}\n", "could not determine a constructor"),
    ("? [1, 2]\n: 3\n", "not valid YAML"),
    ("seed: 1\n---\nseed: 2\n", "not valid YAML"),
    ("seed: \x00\n", "not valid YAML"),
    *((deep, "not valid YAML") for deep in (3000 * "[", 30_000 * "[", 30_000 * "{a: ", 30_000 * "- ", 30_000 * "? ")),
    *((deep, "not valid YAML") for deep in ("? x\n: " + 30_000 * "- ", "? x\n:" + 30_000 * " ? ", "\ufeff" + 30_000 * "- ")),
    ("seed:\t1\n", "line 2, column 6"),
    # keys and types
    ("distil: {lr: 1}\n", "top level: unknown key 'distil'; did you mean 'distill'?"),
    ("3: 4\n", "unknown key '3'"),
    ("null: 4\n", "unknown key 'None'"),
    ('"a\\nb": 4\n', "unknown key 'a b'"),
    ("distill: 3\n", "distill: 3 is not of type mapping"),
    ("distill: null\n", "distill: None is not of type mapping"),
    ("data: {imagenet100: null}\n", "data.imagenet100: None is not of type mapping"),
    ("distortions: {haze: {op: mask}}\n", "distortions.haze: {'op': 'mask'} is not of type list"),
    ("distill: []\n", "distill: [] is not of type mapping"),
    ("data: {}\ndistill: {lr: {}}\n", "distill.lr: {} is not of type number"),
    ("distill: {lr: true}\n", "distill.lr: True is not of type number"),
    ("distill: {lr: '0.1'}\n", "distill.lr: '0.1' is not of type number"),
    ("distill: {epochs: 2.5}\n", "distill.epochs"),
    ("distill: {epochs: many}\n", "distill.epochs: 'many' is not of type integer"),
    ("description: 3\n", "description: 3 is not of type string"),
    ("description: null\n", "description: None is not of type string"),
    ("measured: yes please\n", "measured: 'yes please' is not of type boolean"),
    ("measured: 1\n", "measured: 1 is not of type boolean"),
    ("crop: square\n", "crop: 'square' is not one of resized, random"),
    ("distill: {optimizer: adem}\n", "distill.optimizer: 'adem' is not one of adam, adamw, sgd"),
    ("distill: {compile: true, recompute: true}\n", "distill: compile and recompute cannot both be true"),
    # bounds of numbers
    ("distill: {lr: .nan}\n", "distill.lr: Input should be a finite number"),
    ("distill: {lr: .inf}\n", "distill.lr: "),
    ("flip: .nan\n", "flip: Input should be a finite number"),
    ("distill: {lr: 1e10}\n", "distill.lr: 10000000000.0 is above 1000"),
    ("distill: {lr: 0}\n", "distill.lr: 0 is not above 0"),
    ("distill: {lr: -1}\n", "distill.lr: -1 is not above 0"),
    ("probe: {full: {lr: 1e5}}\n", "probe.full.lr: 100000.0 is above 1000"),
    ("restore: {deep_decoder: {lr: 1e5}}\n", "restore.deep_decoder.lr: 100000.0 is above 1000"),
    ("distill: {epochs: 0}\n", "distill.epochs: 0 is below 1"),
    ("distill: {epochs: 1000000}\n", "distill.epochs: 1000000 is above 100000"),
    ("distill: {batch: 1}\n", "distill.batch: 1 is below 2"),
    ("distill: {batch: 1e3}\n", "distill.batch: 1000.0"),
    ("distill: {batch: 10000000000}\n", "distill.batch: 10000000000 is above 1e+06"),
    ("distill: {temperature: 0}\n", "distill.temperature: 0 is not above 0"),
    ("distill: {temperature: 1e9}\n", "distill.temperature: 1000000000.0 is above 1e+06"),
    ("distill: {weight_decay: 2}\n", "distill.weight_decay: 2 is above 1"),
    ("distill: {weight_decay: -0.1}\n", "distill.weight_decay: -0.1 is below 0"),
    ("distill: {warmup: 1.5}\n", "distill.warmup: 1.5 is above 1"),
    ("distill: {momentum: -1}\n", "distill.momentum: -1 is below 0"),
    ("distill: {shards: 0}\n", "distill.shards: 0 is below 1"),
    ("distill: {shards: 1000}\n", "distill.shards: 1000 is above 64"),
    ("distill: {flip: 2}\n", "distill.flip: 2 is above 1"),
    ("seed: -1\n", "seed: -1 is below 0"),
    ("seed: 4294967296\n", "seed: 4294967296 is not below 4.29497e+09"),
    ("training_seeds: []\n", "training_seeds: "),
    ("training_seeds: [1, 1]\n", "training_seeds: 1 stands there twice"),
    ("training_seeds: [1, -2]\n", "training_seeds.1: -2 is below 0"),
    ("training_seeds: 3\n", "training_seeds: 3 is not of type list"),
    ("training_seeds: [2, 1]\n", "`training_seeds` begin with 2, and `seed` is 1"),
    ("seed: 7\n", "`training_seeds` begin with 1, and `seed` is 7"),
    ("image_size: 0\n", "image_size: 0 is below 8"),
    ("image_size: 100000\n", "image_size: 100000 is above 4096"),
    ("flip: 1.2\n", "flip: 1.2 is above 1"),
    ("pixel_scale: 0\n", "pixel_scale: 0 is below 0.01"),
    ("gpu: 2\n", "gpu: 2 is above 1"),
    ("gpu: -1\n", "gpu: -1 is below 0"),
    ("picture_threads: 0\n", "picture_threads: 0 is below 1"),
    ("picture_threads: 100000\n", "picture_threads: 100000 is above 1024"),
    ("evaluate: {instantiations: 1}\n", "evaluate.instantiations: 1 is below 2"),
    ("evaluate: {batch: 0}\n", "evaluate.batch: 0 is below 1"),
    ("evaluate: {split: train}\n", "evaluate.split: 'train' is not one of test, validation"),
    ("gallery: {images: 0}\n", "gallery.images: 0 is below 1"),
    ("restore: {nlm: {patch_size: 0}}\n", "restore.nlm.patch_size: 0 is below 1"),
    ("restore: {nlm: {h: 0}}\n", "restore.nlm.h: 0 is not above 0"),
    ("restore: {deep_decoder: {upsamplings: 40}}\n", "restore.deep_decoder.upsamplings: 40 is above 10"),
    ("restore: {deep_decoder: {input_noise: -1}}\n", "restore.deep_decoder.input_noise: -1 is below 0"),
    ("training_spread: {top1: -1}\n", "training_spread.top1: -1 is below 0"),
    ("training_spread: {top11: 1}\n", "training_spread: unknown kind 'top11'; did you mean 'top1'?"),
    ("left_out: [cifar11]\n", "left_out: unknown data set 'cifar11'; did you mean 'cifar10'?"),
    ("instead: {top6: top1}\n", "instead: unknown metric 'top6'; did you mean 'top"),
    ("instead: {top5: mmr}\n", "instead: unknown metric 'mmr'; did you mean 'mrr'?"),
    ("fractions: []\n", "fractions: "),
    ("fractions: [0]\n", "fractions.0: 0 is not above 0"),
    ("fractions: [900]\n", "fractions.0: 900 is above 100"),
    ("fractions: [10, 10]\n", "fractions: 10.0 stands there twice"),
    ("evaluate: {instantiations: 1000000000000}\n", "evaluate.instantiations: 1000000000000 is above 1000"),
    ("restore: {nlm: {instantiations: 1000000000}}\n", "restore.nlm.instantiations: 1000000000 is above 1000"),
    ("restore: {nlm: {patch_size: 4096}}\n", "restore.nlm.patch_size: 4096 is above 100"),
    ("restore: {nlm: {patch_distance: 4096}}\n", "restore.nlm.patch_distance: 4096 is above 100"),
    ("restore: {deep_decoder: {steps: 1000000000}}\n", "restore.deep_decoder.steps: 1000000000 is above 1e+06"),
    ("restore: {deep_decoder: {upsamplings: 10}}\n", "restore.deep_decoder.upsamplings: 10 doublings give no images of 48"),
    ("restore: {deep_decoder: {upsamplings: 5}}\n", "restore.deep_decoder.upsamplings: 5 doublings give no images of 48"),
    ("stand_ins: {imagnet100: x}\n", "stand_ins.imagnet100: unknown data set 'imagnet100'; did you mean 'imagenet100'?"),
    ("expected: nowhere\n", "expected: there is no study 'nowhere'"),
    ("expected: simclr\n", "expected: study 'simclr' is about another paper"),
    # schedules
    ("distill: {schedule: stalled_cosine}\n", "distill: schedule: stalled_cosine needs `period`"),
    ("probe: {full: {schedule: stalled_cosine}}\n", "probe.full: schedule: stalled_cosine needs `period`"),
    ("probe: {subset: {schedule: stalled_cosine}}\n", "probe.subset: schedule: stalled_cosine needs `period`"),
    ("distill: {schedule: stalled_cosine, period: 0}\n", "distill.period: 0 is not above 0"),
    ("distill: {schedule: stairs, factor: 2}\n", "distill: schedule: stairs needs `every`"),
    ("distill: {schedule: milestones, factor: 0.1}\n", "distill: schedule: milestones needs `milestones`"),
    ("distill: {schedule: milestones, factor: 0.1, milestones: [2]}\n", "distill.milestones.0: 2 is above 1"),
    # a last step of one image: 100 images here
    ("distill: {batch: 99}\n", "encoders/student-rm50: batch: 99 leaves one of 100 images to the last step"),
    ("distill: {batch: 33}\n", "batch: 33 leaves one of 100 images"),
    ("finetune: {batch: 9}\n", "encoders/baseline-rm50: batch: 9 leaves one of 100 images"),
    ("teacher: {batch: 3}\n", "encoders/teacher: batch: 3 leaves one of 400 images"),
    # distortions
    ("distortions: {mix: nothing}\n", "distortions.mix: unknown distortion 'nothing'"),
    ("distortions: {mix: mix}\n", "distortions.mix: 'mix' stands for itself"),
    ("distortions: {rm90: [{op: noise, sigma: [0.1, 0.1]}]}\n", "distortions.rm90: it has a meaning of its own"),
    ("distortions: {clean: rm50}\n", "distortions.clean: it has a meaning of its own"),
    ("distortions: {gb21: rm50}\n", "distortions.gb21: it has a meaning of its own"),
    (MIX % "blur, kernel: 21, sigma: [0, 2]", "sigma: [0.0, 2.0]: a blur's deviation is 0.01 at least"),
    ("pixel_scale: 1e-9\n", "pixel_scale: 1e-09 is below 0.01"),
    ("blur_sigmas: {21: 1e-9}\n", "blur_sigmas.21: 1e-09 is below 0.01"),
    ("distortions: {mix: harder, harder: mix}\n", "distortions.mix: 'mix' stands for itself"),
    ("distortions: {mix: rm95to50}\n", "distortions.mix: 'rm95to50' is no range"),
    ("distortions: {mix: gn120}\n", "distortions.mix: unknown distortion 'gn120'"),
    ("distortions: {mix: gb22}\n", "distortions.mix: unknown distortion 'gb22'"),
    ("distortions: {my mix: rm50}\n", "distortions.my mix: 'my mix': a name is"),
    ("distortions: {mix: 3}\n", "distortions.mix: "),
    (MIX % "mask, fraction: [0.5, 1.2]", "distortions.mix.0.fraction.1: 1.2 is above 1"),
    (MIX % "mask, fraction: [0.9, 0.5]", "distortions.mix.0.fraction: [0.9, 0.5] is no range"),
    (MIX % "mask, fraction: [0.5]", "distortions.mix.0.fraction: "),
    (MIX % "mask, fraction: 0.5", "distortions.mix.0.fraction: 0.5 is not of type list"),
    (MIX % "mask", "distortions.mix.0.fraction: missing"),
    (MIX % "masc, fraction: [0, 1]", "distortions.mix.0: 'masc' is not one of mask, noise, blur, jitter, grey"),
    (MIX % "noise, sigma: [0.5, 0.2]", "distortions.mix.0.sigma: [0.5, 0.2] is no range"),
    (MIX % "noise, sigma: [-1, 0.2]", "distortions.mix.0.sigma.0: -1 is below 0"),
    (MIX % "noise, sigma: [0, .nan]", "distortions.mix.0.sigma.1: "),
    (MIX % "blur, kernel: 22, sigma: [1, 1]", "distortions.mix.0.kernel: 22 is even"),
    (MIX % "blur, kernel: 0, sigma: [1, 1]", "distortions.mix.0.kernel: 0 is below 1"),
    (MIX % "blur, kernel: 201, sigma: [1, 1]", "distortions.mix: a kernel of 151 px is too large for images of 48 px"),
    (MIX % "blur, kernel: 1001, sigma: [1, 1]", "distortions.mix.0.kernel: 1001 is above 999"),
    (MIX % "jitter, hue: 0.6", "distortions.mix.0.hue: 0.6 is above 0.5"),
    (MIX % "jitter, probability: 1.1", "distortions.mix.0.probability: 1.1 is above 1"),
    (MIX % "jitter, brightness: 1e9", "distortions.mix.0.brightness: 1000000000.0 is above 1e+06"),
    (MIX % "grey, mean: 1", "distortions.mix.0.mean: 1 is not of type boolean"),
    ("blur_sigmas: {22: 5}\n", "blur_sigmas.22: 22 is even"),
    ("blur_sigmas: {501: 5}\n", "blur_sigmas.501: a kernel of 375 px is too large"),
    ("blur_sigmas: {21: 0}\n", "blur_sigmas.21: 0 is below 0.01"),
    ("probe_distortions: {mix: nothing}\n", "probe_distortions.mix: unknown distortion 'nothing'"),
    ("probe_distortions: {nothing: mix}\n", "probe_distortions.nothing: unknown distortion 'nothing'"),
    # data sets
    ("data: {my set: {source: cifar10, resize: 48}}\n", "data.my set: 'my set': a name is"),
    ("data: {../up: {source: cifar10, resize: 48}}\n", "data.../up: '../up': a name is"),
    ("data: {'': {source: cifar10, resize: 48}}\n", "'': a name is"),
    ("data: {x;y: {source: cifar10, resize: 48}}\n", "data.x;y: 'x;y': a name is"),
    ("data: {ünïcode: {source: cifar10, resize: 48}}\n", "'ünïcode': a name is"),
    ("data: {covid: {source: xrays}}\n", "data.covid: 'xrays' is not one of glyphs, digits"),
    ("data: {covid: {}}\n", "data.covid"),
    ("data: {covid: null}\n", "data.covid"),
    ("data: {cifar10: {source: cifar10}}\n", "data.cifar10: pictures of 32 px are smaller than image_size, 48 px"),
    ("data: {cifar10: {source: cifar10, resize: 40}}\n", "data.cifar10: pictures of 40 px are smaller"),
    ("data: {cifar10: {source: cifar10, resize: 4}}\n", "data.cifar10.resize: 4 is below 8"),
    ("data: {cifar10: {source: cifar10, flip: 7}}\n", "data.cifar10.flip: 7 is above 1"),
    (GLYPHS % "classes: [5, 5]", "data.cifar10.classes: [5, 5] holds no class"),
    (GLYPHS % "classes: [20, 10]", "data.cifar10.classes: [20, 10] holds no class"),
    (GLYPHS % "classes: [-3, 10]", "data.cifar10.classes.0: -3 is below 0"),
    (GLYPHS % "classes: [0, 100000]", "data.cifar10.classes.1: 100000 is above 1400"),
    (GLYPHS % "classes: [0, 10, 20]", "data.cifar10.classes: "),
    (GLYPHS % "classes: [a, b]", "data.cifar10.classes.0: 'a' is not of type integer"),
    (GLYPHS % "classes: []", "data.cifar10.classes: "),
    (GLYPHS % "classes: [0, 10], train: 0", "data.cifar10.train: 0 is below 1"),
    (GLYPHS % "pairs: {AB: A}", "data.cifar10: pairs: 'AB' is none of"),
    (GLYPHS % "pairs: {Á: AB}", "data.cifar10: pairs: 'AB' is none of"),
    (GLYPHS % "pairs: {Á: ü}", "data.cifar10: pairs: 'ü' is none of"),
    (GLYPHS % "pairs: {Q: A}", "data.cifar10: pairs: 'Q' is none of"),
    (GLYPHS % "pairs: {Á: A, Á: B}", "the key 'Á' twice"),
    (GLYPHS % "pairs: {Á: A}, classes: [0, 5]", "data.cifar10: either `classes` or `pairs`"),
    (GLYPHS % "pairs: {Á: t}, classes_of: imagenet100", "data.cifar10.pairs: 't' is no class of 'imagenet100'"),
    (GLYPHS % "classes_of: nothing", "data.cifar10.classes_of: 'nothing' is no data set with classes of its own"),
    (GLYPHS % "classes_of: cifar10", "data.cifar10.classes_of: 'cifar10' is no data set with classes of its own"),
    ("data: {cifar10: {source: glyphs, stored: 54}}\n", "data.cifar10: no pictures"),
    ("data: {cifar10: {source: glyphs, stored: 40, test: 1}}\n", "data.cifar10: pictures of 40 px are smaller"),
    ("data: {imagenet100: {source: glyphs, stored: 54, test: 8}}\n", "data.imagenet100: train: missing"),
    ("data: {imagenet100: {source: glyphs, stored: 54, train: 8}}\n", "data.imagenet100: no test pictures"),
    ("data: {stl10: {source: digits, stored: 54}}\n", "data.stl10.train: missing"),
    ("data: {stl10: {source: digits, stored: 54, train: 9, test: 3}}\n", "data.stl10.test: "),
    ("data: {cifar10: {source: cifar10, train: 7}}\n", "data.cifar10.train: "),
    ("data: {covid: {source: coronahack, resize: 54, test: 7}}\n", "data.covid.test: "),
    ("data: {imagenet100c: {source: generated-imagenet-c, classes_of: imagenet100, images_per_class: 1, test: 2}}\n",
     "data.imagenet100c.test: "),
    ("data: {stl10: {source: digits, stored: 54, train: 1797}}\n", "data.stl10.train: 1797 is above 1796"),
    ("data: {stl10: {source: digits, stored: 54, train: 9, validation: 3}}\n", "data.stl10.validation: "),
    ("data: {covid: {source: photographs, stored: 54, train: 40}}\n", "data.covid.test: missing"),
    ("data: {covid: {source: photographs, stored: 54, train: 1, test: 9}}\n", "data.covid.train: 1 is below 2"),
    ("data: {covid: {source: photographs, stored: 500, train: 9, test: 9}}\n", "data.covid.stored: 500 is above 224"),
    ("data: {imagenet100c: {source: generated-imagenet-c, images_per_class: 1}}\n", "imagenet100c.classes_of: missing"),
    ("data: {covid: {source: glyphs, stored: 54, test: 8, classes: [0, 300], classes_of: imagenet100}}\n",
     "data.covid.classes_of: 'imagenet100' has 10 classes, fewer than the 300 here"),
    ("data: {covid: {source: glyphs, stored: 54, train: 8, test: 8, classes: [3, 4]}}\n", "data.covid: one class"),
    ("data: {imagenet100: {source: imagenet, resize: 48, classes: x.txt}}\n", "classes: there is no list 'x.txt'"),
    ("data: {imagenet100: {source: imagenet, resize: 48, classes: ../classes.py}}\n", "there is no list '../classes.py'"),
    ("data: {imagenet100: {source: imagenet, classes: imagenet100_wnids.txt}}\n", "data.imagenet100.resize: missing"),
    # networks
    (STUDENT % ("vgg", "x"), "networks.student.architecture: 'vgg' is not one of convnet"),
    (STUDENT % ("convnet", "flattened"), "networks.student: model: 'flattened' is no convnet; such as"),
    (STUDENT % ("convnet", "flattened/0"), "networks.student: model: 'flattened/0' is no convnet"),
    (STUDENT % ("convnet", "flattened/40"), "networks.student: model: 'flattened/40' is no convnet"),
    (STUDENT % ("convnet", "flattened/32"), "networks.student.model: flattened/32 takes no images of 48 px"),
    (STUDENT % ("simclr_resnet", "3-4-6-3"), "networks.student: model: '3-4-6-3' is no simclr_resnet"),
    (STUDENT % ("simclr_resnet", "3-0-6-3/64"), "networks.student: model: '3-0-6-3/64' is no simclr_resnet"),
    (STUDENT % ("simclr_resnet", "3-4-6-3/6"), "networks.student: model: '3-4-6-3/6' is no simclr_resnet"),
    (STUDENT % ("open_clip", "RN101-quikgelu"), "has no 'RN101-quikgelu' that serves here; did you mean 'RN101-quickgelu'"),
    (STUDENT % ("open_clip", "hf-hub:someone/something"), "networks.student: model: open_clip has no 'hf-hub:"),
    (STUDENT % ("torchvision", "resnet102"), "torchvision has no 'resnet102' that serves here; did you mean"),
    (STUDENT % ("torchvision", "vgg16"), "networks.student: model: torchvision has no 'vgg16'"),
    (STUDENT % ("open_clip", "ViT-B-32"), "networks.student.model: ViT-B-32 takes no images of 48 px"),
    (STUDENT % ("open_clip", "RN101-quickgelu"), "networks.student.model: RN101-quickgelu takes no images of 48 px"),
    (STUDENT % ("open_clip", "vit_medium_patch16_gap_256"), "takes no images of 48 px"),
    (STUDENT % ("open_clip", "PE-Core-B-16"), "networks.student.model: PE-Core-B-16 takes no images of 48 px"),
    ("networks: {student: {mean: [0.5, 0.5]}}\n", "networks.student.mean: "),
    ("networks: {student: {mean: [0.5, 0.5, 127]}}\n", "networks.student.mean.2: 127 is above 1"),
    ("networks: {student: {std: [0.5, 0.5, 0]}}\n", "networks.student.std.2: 0 is not above 0"),
    # tables, figures, further quantities
    ("tables: [15]\n", "tables: the paper has no table 15; it has 1, 2, 3"),
    ("tables: [0]\n", "tables: the paper has no table 0"),
    ("tables: [1, 1]\n", "tables: 1 stands there twice"),
    ("tables: 1\n", "tables: 1 is not of type list"),
    ("tables: [one]\n", "tables.0: 'one' is not of type integer"),
    ("tables: null\n", "tables: None is not of type list"),
    ("figures: [2]\n", "figures: the paper has no figure 2; it has 1, 3, 4"),
    ("figures: [3, 3]\n", "figures: 3 stands there twice"),
    ("figures: [-1]\n", "figures: the paper has no figure -1"),
    ("also: [teacher]\n", "also: quantity 'teacher': expected encoder | head"),
    ("also: ['']\n", "also: quantity '': expected encoder | head"),
    ("also: [baseline-rm90-seed99999999999 | own | imagenet100 | clean | top1]\n", "seed: 99999999999 is not below"),
    ("also: [baseline-rm90 | own | imagenet100 | rm90 | mrr]\n", "training_spread.mrr: missing, 'baseline-rm90 | own"),
    ("training_seeds: [1, 2]\nalso: [baseline-rm90-seed5 | own | imagenet100 | clean | top1]\n",
     "also: 'baseline-rm90-seed5 | own | imagenet100 | clean | top1': a seed, which `training_seeds` say already"),
    ("also: [3]\n", "also.0: 3 is not of type string"),
] + [
    (f"also: ['{quantity}']\n", f"also: {message}")
    for quantity, message in [
        ("teacher | probe 0% on clean | imagenet100 | clean | top1", "'teacher | probe 0% on clean"),
        ("teacher | probe 900% on clean | imagenet100 | clean | top1", "'teacher | probe 900% on clean"),
        ("teacher | probe 100 on clean | imagenet100 | clean | top1", "'teacher | probe 100 on clean"),
        ("teacher | probe 100% | imagenet100 | clean | top1", "'teacher | probe 100%"),
        ("teacher | own | imagenet100 | clean | top1", "'teacher | own"),
        ("student-rm90 | own | imagenet100 | rm90 | top1", "'student-rm90 | own"),
        ("taecher | own | imagenet100 | clean | top1", "'taecher | own"),
        ("a b | own | imagenet100 | clean | top1", "'a b | own"),
        ("baseline-ü | own | imagenet100 | clean | top1", "'baseline-ü | own"),
        ("baseline-rm90; touch x | own | imagenet100 | rm90 | top1", "'baseline-rm90; touch x | own"),
        ("baseline-nothing | own | imagenet100 | clean | top1", "'baseline-nothing | own"),
        ("baseline-rm95to50 | own | imagenet100 | clean | top1", "'baseline-rm95to50 | own"),
        ("resnet | x probe 100% on clean | imagenet100 | clean | top1", "'resnet | x probe"),
        ("resnet | probe 100% on nothing | imagenet100 | clean | top1", "'resnet | probe 100% on nothing"),
        ("resnet | own | imagnet100 | clean | top1", "'resnet | own | imagnet100"),
        ("resnet | own | imagenet100 | nothing | top1", "'resnet | own | imagenet100 | nothing"),
        ("resnet | own | imagenet100c | rm90 | top1", "'resnet | own | imagenet100c | rm90"),
        ("resnet | own | imagenet100 | xyz-rm90 | top1", "'resnet | own | imagenet100 | xyz-rm90 | top1': unknown distortion"),
        ("resnet | own | imagenet100 | clean | top2", "'resnet | own | imagenet100 | clean | top2"),
        ("resnet | own | imagenet100 | clean | top1@3", "'resnet | own | imagenet100 | clean | top1@3"),
    ]
]  # fmt: skip
OF_PAPER = [
    ("image_size: 192\nnetworks: {student: {model: RN101-quickgelu}}\n", "RN101-quickgelu takes no images of 192 px"),
    ("image_size: 192\nrestore: {deep_decoder: {upsamplings: 7}}\nnetworks: {student: {architecture: torchvision, model: resnet18}}\n",
     "restore.deep_decoder.upsamplings: 7 doublings give no images of 192 px"),
    ("teacher: {weights: clap, sha256: 8fa8567b}\n", "teacher.weights: 'clap' is not one of clip, resnet101"),
    ("resnet: {weights: resnet101, sha256: 63fe}\n", "resnet.sha256: "),
    ("resnet: {weights: resnet101, sha256: 63FE2227}\n", "resnet.sha256: "),
    ("resnet: {weights: resnet101, sha256: 63222277}\n", "resnet.sha256: 63222277 is not of type string"),
]  # fmt: skip
OF_SIMCLR = [
    ("distances: [0]\n", "distances.0: 0 is not above 0"),
    ("distances: []\n", "distances: "),
    ("distances: [1, 1]\n", "distances: 1.0 stands there twice"),
    ("counted: some\n", "counted: 'some' is not one of all, printed"),
    ("attacks: {pgd: {epsilon: 100}}\n", "attacks.pgd.epsilon: 100 is above 55"),
    ("attacks: {pgd: {steps: 0}}\n", "attacks.pgd.steps: 0 is below 1"),
    ("attacks: {plb: {back: 1}}\n", "attacks.plb.back: 1 is not below 1"),
    ("attacks: {images: 1}\n", "attacks.images: 1 is below 2"),
    ("attacks: {checks: {x: {steps: null}}}\n", "attacks.checks.x.steps: None is not of type integer"),
    ("attacks: {checks: {x: {norm: linf, epsilon: 2}}}\n", "attacks.checks.x.epsilon: 2 is above 1, the box"),
    ("attacks: {checks: {x: {transferred: true, random_start: true}}}\n", "attacks.checks.x.random_start: a transferred"),
    ("attacks: {images: 10000000}\n", "attacks.images: 10000000 is above 1e+06"),
    ("attacks: {pgd: {steps: 10000000}}\n", "attacks.pgd.steps: 10000000 is above 1e+06"),
    ("attacks: {plb: {outer: 100000}}\n", "attacks.plb.outer: 100000 is above 1000"),
    ("attacks: {plb: {inner: 100000}}\n", "attacks.plb.inner: 100000 is above 1000"),
    ("contrastive: {images: {crop: resized, scale: [1, 0.7]}}\n", "contrastive.images.scale: [1.0, 0.7] is no range"),
    ("contrastive: {images: {crop: resized, scale: [0.7, 2]}}\n", "contrastive.images.scale.1: 2 is above 1"),
    ("contrastive: {augmentation: [{op: blur, kernel: 65, sigma: [1, 1]}]}\n", "augmentation: a kernel of 65 px"),
    ("contrastive: {regularised: {lr: 1e10}}\n", "contrastive.regularised.lr: 10000000000.0 is above 1000"),
    ("supervised: {part: {lrr: 0.1}}\n", "supervised.part: unknown key 'lrr'; did you mean 'lr'?"),
    ("supervised: {part: {schedule: stairs}}\n", "encoders/supervised-labels"),
    ("attacks: {checks: {plb: {steps: 3}}}\n", "attacks.checks.plb: 'plb' has a meaning of its own"),
    ("attacks: {checks: {strongest: {steps: 3}}}\n", "attacks.checks.strongest: 'strongest' has a meaning of its own"),
    ("probe: {part: {epochs: 0}}\n", "probe.part.epochs: 0 is below 1"),
    ("probe: {part: {lr: null}}\n", "probe.part.lr: None is not of type number"),
    ("probe: {part: {schedule: stairs}}\n", "probe.part: schedule: stairs needs `factor`"),
    ("supervised: {batch: 1999}\n", "encoders/supervised: batch: 1999 leaves one of 2000 images"),
    ("supervised: {part: {batch: 19}}\n", "encoders/supervised-labels1: batch: 19 leaves one of 20 images"),
    ("networks: {contrastive: {model: flattened/48}}\n", "networks.contrastive.model: flattened/48 takes no images of 32"),
    ("data: {cifar10: {source: glyphs, classes: [200, 201], train: 9, test: 9, stored: 32}}\n", "data.cifar10: one class"),
    ("stand_ins: {cifar1O: letters}\n", "stand_ins.cifar1O: unknown data set 'cifar1O'; did you mean 'cifar10'?"),
    ("expected: nowhere\n", "expected: there is no study 'nowhere'"),
    ("expected: demo\n", "expected: study 'demo' is about another paper"),
    ("instead: {all: printed}\n", "instead: metric 'all' takes a value, as in 'all@0.5'"),
    ("instead: {all@1: printed@x}\n", "instead: metric 'printed' takes a value, as in 'printed@0.5'"),
    ("instead: {median@3: failed}\n", "instead: metric 'median' takes no value"),
    ("figures: [1]\n", "figures: the paper has no figure 1; it has 2"),
    ("root: demo\n", "root: study 'demo' is about another paper"),
    ("also: ['supervised-labels900 | own | cifar10 | clean | top1']\n", "labels: 900"),
    ("also: ['supervised-labels0 | own | cifar10 | clean | top1']\n", "labels: 0"),
    ("also: ['supervised-lambda1.2.3 | own | cifar10 | clean | top1']\n", "also: 'supervised-lambda1.2.3"),
    ("also: ['contrastive | own | cifar10 | clean | top1']\n", "also: 'contrastive | own"),
    ("also: ['contrastive | probe 100% on rm90 | cifar10 | clean | top1']\n", "also: 'contrastive | probe 100% on rm90"),
    ("also: ['supervised | own | cifar10 | fgsm | top1']\n", "also: 'supervised | own | cifar10 | fgsm"),
    ("also: ['supervised | own | cifar10 | pgd | top1']\n", "'top1' is measured on clean images, not under 'pgd'"),
    ("also: ['supervised | own | cifar10 | clean | median']\n", "'median' is measured under an attack, not on 'clean'"),
    ("also: ['supervised | own | cifar10 | pgd | all']\n", "also: 'supervised | own | cifar10 | pgd | all"),
]  # fmt: skip


def refusal(act, *arguments):
    """The one line of a UserError."""
    with pytest.raises(UserError) as error:
        act(*arguments)
    assert "\n" not in str(error.value) and len(str(error.value)) < 700
    return str(error.value)


@pytest.mark.parametrize(
    ("parent", "text", "message"),
    [("smoke", *row) for row in STUDIES]
    + [("paper", *row) for row in OF_PAPER]
    + [("simclr-demo", *row) for row in OF_SIMCLR],
)
def test_a_wrong_study(study_of, parent, text, message):
    less = LESS if parent == "smoke" else ""
    less = "".join(f"{line}\n" for line in less.splitlines() if f"{line.split(':')[0]}:" not in text)

    def read():
        ready.check(study_of(text + less, parent=parent))

    said = refusal(read)
    assert "mine.yaml: " in said and message in said


LEDGERS = [
    # tables.csv: what stands in its first row, and in its place
    ("tables.csv", "77.53,", "many,", "row 1: value: 'many' is no number"),
    ("tables.csv", "77.53,", ",", "row 1: value: '' is no number"),
    ("tables.csv", "77.53,", "nan,", "row 1: value: 'nan' is no number"),
    ("tables.csv", "77.53,", "inf,", "row 1: value: 'inf' is no number"),
    ("tables.csv", "77.53,", '"77,53",', "row 1: value: '77,53' is no number"),
    ("tables.csv", "77.53,", "1e300,", "row 1: value: '1e300' is no number up to 1e+09"),
    ("tables.csv", "77.53,", f"{400 * '9'},", "is no number up to 1e+09"),
    ("tables.csv", "0.06,2,2,,b", "-0.06,2,2,,b", "row 1: se: "),
    ("tables.csv", "0.06,2,2,,b", "9999999999,2,2,,b", "row 1: se: '9999999999' is no number up to 1e+09"),
    ("tables.csv", "0.06,2,2,,b", "0.06,999,2,,b", "row 1: decimals: 999 is above 9"),
    ("tables.csv", "0.06,2,2,,b", "0.06,2,10,,b", "row 1: se_decimals: 10 is above 9"),
    ("tables.csv", "0.06,2,2,,b", "nan,2,2,,b", "row 1: se: "),
    ("tables.csv", "0.06,2,2,,b", "0.06,two,2,,b", "row 1: decimals: 'two' is no whole number"),
    ("tables.csv", "0.06,2,2,,b", "0.06,,2,,b", "row 1: decimals: "),
    ("tables.csv", "0.06,2,2,,b", "0.06,-2,2,,b", "row 1: decimals: '-2' is no whole number"),
    ("tables.csv", "0.06,2,2,,b", "0.06,2,x,,b", "row 1: se_decimals: 'x' is no whole number"),
    ("tables.csv", "0.06,2,2,,b", "0.06,2,2,maybe,b", "row 1: bold: 'maybe' is not one of"),
    ("tables.csv", "0.06,2,2,,b", "0.06,2,2,,b,b", "row 1: "),
    ("tables.csv", "0.06,2,2,,b", "0.06,2,2\n1,x,y,3,,2,,,b", "row 1: "),
    ("tables.csv", "1,Random Mask 50%,Supervised", "one,Random Mask 50%,Supervised", "row 1: table: 'one' is no whole"),
    ("tables.csv", "1,Random Mask 50%,Supervised", "99,Random Mask 50%,Supervised", "table: tables.yaml has no table 99"),
    ("tables.csv", "1,Random Mask 50%,Supervised", "1,,Supervised", "row 1: row: "),
    ("tables.csv", "Random Mask 50%,Ours,", "Random Mask 50%,Supervised Baseline,", "row 2: column: a second number at"),
    ("tables.csv", "baseline-rm50 | own | imagenet100 | rm50 | top1", "baseline-rm50", "row 1: quantity: quantity 'baseline-rm50'"),
    ("tables.csv", "baseline-rm50 | own | imagenet100 | rm50 | top1", "basline-rm50 | own | imagenet100 | rm50 | top1", "tables.csv, table 1: 'basline-rm50"),
    ("tables.csv", "se_decimals,bold", "se_decimals,fat", "row 1: top level: unknown key 'fat'"),
    ("tables.csv", "table,row", "tabel,row", "row 1: top level: unknown key 'tabel'; did you mean 'table'?"),
    # tables.yaml
    ("tables.yaml", "1:\n", "one:\n", "one"),
    ("tables.yaml", "1:\n", "0:\n", "0: "),
    ("tables.yaml", "1:\n", "2:\n", "the key '2' twice"),
    ("tables.yaml", "  rows: Distortion\n  best: row\n2", "  best: row\n2", "1.rows: missing"),
    ("tables.yaml", "  best: row\n2", "  best: column\n2", "1.best: 'column' is not one of row, pair"),
    ("tables.yaml", "  best: row\n2", "  bset: row\n2", "1: unknown key 'bset'; did you mean 'best'?"),
    ("tables.yaml", "  levels: true", "  levels: 3", "10.levels: 3 is not of type boolean"),
    ("tables.yaml", "covid: coronahack", "covid: nothing", "6.notes: 'nothing' is no source of a data set; known: "),
    ("tables.yaml", "covid: coronahack", "covit: coronahack", "unknown data set 'covit'; did you mean 'covid'?"),
    ("tables.yaml", None, "- 1\n", "is not of type mapping"),
    ("tables.yaml", None, "", "tables.yaml has no table 1"),
    ("tables.yaml", None, b"1: {title: \xfc, rows: x}\n", "not valid YAML"),
    # figures.yaml
    ("figures.yaml", "levels: $fractions\n", "levels: $fraction\n", "'$fraction' is no setting of a study; did you mean 'fractions'?"),
    ("figures.yaml", "levels: $fractions\n", "levels: $seed\n", "'$seed' is no list of levels"),
    ("figures.yaml", "levels: $fractions\n", "levels: fractions\n", "levels"),
    ("figures.yaml", "levels: $fractions\n", "levels: []\n", "levels"),
    ("figures.yaml", "student-rm90 | probe {x}%", "student-rm90 probe {x}%", "curves.Ours: quantity 'student-rm90 probe"),
    ("figures.yaml", "student-rm90 | probe {x}%", "student-rm90 | probe {y}%", "unknown head 'probe {y}%'"),
    ("figures.yaml", "levels: [rm96, rm97, rm98, rm99]", "levels: [rm96, rm100]", "unknown distortion 'rm100'"),
    ("figures.yaml", "levels: [rm96, rm97, rm98, rm99]", "levels: [rm96, mix]", "level 'mix' has no place on an axis"),
    ("figures.yaml", "metric: top1, <<: *harder", "metric: top9, <<: *harder", "unknown metric 'top9'"),
    ("figures.yaml", "metric: top1, <<: *harder", "metrik: top1, <<: *harder", "4: unknown key 'metrik'; did you mean 'metric'?"),
    ("figures.yaml", "metric: top1, <<: *harder", "metric: $counted, <<: *harder", "4: '$counted' is no setting"),
    ("figures.yaml", "  gallery: samples\n", "", "11: either `panels` with `curves`, or a `gallery`"),
    ("figures.yaml", "  gallery: samples", "  gallery: some", "11.gallery: 'some' is not one of predictions, samples"),
    ("figures.yaml", "*harder", "*softer", "undefined alias"),
    ("figures.yaml", None, "3\n", "is not of type mapping"),
    ("figures.yaml", None, "", "figures: the paper has no figure 3"),
    # claims.yaml
    ("claims.yaml", "- id: harder-levels\n", "- id: higher-accuracy\n", "higher-accuracy: a second claim of this id"),
    ("claims.yaml", "- id: harder-levels\n", "- ids: harder-levels\n", "unknown key 'ids'; did you mean 'id'?"),
    ("claims.yaml", "- id: harder-levels\n", "- id: 3\n", "id: 3 is not of type string"),
    ("claims.yaml", "quote: normal CLIP", "quot: normal CLIP", "unknown key 'quot'; did you mean 'quote'?"),
    ("claims.yaml", "  untested: A cause", "  why: A cause", "unknown key 'why'"),
    ("claims.yaml", "  untested: A cause", "  section: A cause", "the key 'section' twice"),
    ("claims.yaml", "quote: normal CLIP fails on highly corrupted images\n", "quote: so\n  untested: Nobody did.\n", "say `readings`, or in `untested` why there is none"),
    ("claims.yaml", "    - reading: at each of the eight distortions of Table 1\n", "    - reading: ''\n", "0.readings.0.reading: "),
    ("claims.yaml", "at_least: most", "at_least: some", "at_least"),
    ("claims.yaml", "at_least: most", "at_least: 99", "fraction-of-labels: at_least 99 of 8 comparisons can never hold"),
    ("claims.yaml", "at_least: most", "at_least: 0", "at_least: 0 is below 1"),
    ("claims.yaml", "above: 5}", "above: five}", "above: 'five' is not of type number"),
    ("claims.yaml", "above: 5}", "above: .nan}", "above: "),
    ("claims.yaml", "above: 5}", "above: 5, within: 5}", "say `above`, `below` or both, or `within`"),
    ("claims.yaml", ", above: 5}", "}", "say `above`, `below` or both, or `within`"),
    ("claims.yaml", "above: 0, below: 5}", "above: 5, below: 0}", "nothing is above 5 and below 0"),
    ("claims.yaml", "above: 0, below: 5}", "above: 0, below: 3}", "label-shift-small-noise: 'small: σ of 0.05"),
    ("claims.yaml", "above: 0, below: 5}", "above: 0, below: 3}", "can never hold: its bounds are closer than trainings spread; 2.3 to either side would do"),
    ("claims.yaml", "within: 1}", "within: -1}", "within: -1 is not above 0"),
    ("claims.yaml", "within: 1}", "within: 0.5}", "transfer-cifar: 'comparable: within 1 point, on both sets under masks and noise' can never hold"),
    ("claims.yaml", "of: error", "of: spread", "of: 'spread' is not one of mean, error"),
    ("claims.yaml", "| top1\"], of: error", "| top1\", \"resnet | own | covid | clean | top1\"], of: error", "a comparison of an error is about one quantity"),
    ("claims.yaml", "for: {d: [rm90, gn50]}", "for: {e: [rm90, gn50]}", "five-percent-of-labels: for: no comparison has {e}"),
    ("claims.yaml", "for: {d: [rm90, gn50]}", "for: {d: []}", "for.d: "),
    ("claims.yaml", "for: {o/d: [rm50to95/rm96, ", "for: {o/d: [rm96, ", "for: 'rm96' does not fit 'o/d'"),
    ("claims.yaml", "[\"student-{d} | probe 5%", "[\"studnet-{d} | probe 5%", "five-percent-of-labels: unknown encoder"),
    ("claims.yaml", "[\"student-{d} | probe 5%", "[\"student-{d} | probe 500%", "five-percent-of-labels: quantity"),
    ("claims.yaml", "[\"student-{d} | probe 5%", "[\"student-{d} probe 5%", "five-percent-of-labels: quantity"),
    ("claims.yaml", "[\"student-{d} | probe 5%", "[\"student-{d} | probe 7%", "five-percent-of-labels: study paper does not measure 'student-rm90 | probe 7%"),
    ("claims.yaml", None, "id: 3\n", "is not of type list"),
    ("claims.yaml", None, "- 3\n", "0: 3 is not of type mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), LEDGERS)
def test_a_wrong_ledger(tmp_path, file, old, new, message):
    path = papers.paper("inverse_problems").printed / file
    text = path.read_text(encoding="utf-8")
    assert old is None or old in text
    new = new if old is None else text.replace(old, new, 1)
    study = study_but(
        "smoke", tmp_path, {file: "" if isinstance(new, bytes) else new}, tables=[1, 6], figures=[3, 4, 11]
    )
    if isinstance(new, bytes):
        (tmp_path / "printed" / file).write_bytes(new)
    said = refusal(ready.check, study)
    assert message in said and (file in said or message.startswith(("figures: ", "tables: ")))


LONG = 300 * "a"  # as a file's name, the system refuses it

CONFIGS = [
    (b"study: d\xe9mo\n", "not valid YAML"),
    ("- study\n", "is not of type mapping"),
    ("3\n", "3 is not of type mapping"),
    ("study: [\n", "not valid YAML"),
    ("study: demo\nstudy: paper\n", "the key 'study' twice"),
    ("study: \x00\n", "not valid YAML"),
    ("study: 3\n", "study: 3 is not of type string"),
    ("study: null\n", "study: None is not of type string"),
    ("study: [demo]\n", "study: ['demo'] is not of type string"),
    ("study: dmeo\n", "study: there is no study 'dmeo'; did you mean 'demo'?"),
    ("study: ''\n", "study: '' is no name of a study"),
    ("study: ../demo\n", "study: '../demo' is no name of a study: a name is up to 100 letters"),
    ("study: /etc/passwd\n", "study: '/etc/passwd' is no name of a study"),
    ("study: demo; touch HACK\n", "study: 'demo; touch HACK' is no name of a study"),
    ("study: $(touch HACK)\n", "is no name of a study"),
    ("study: -demo\n", "study: '-demo' is no name of a study"),
    ("study: démo\n", "study: 'démo' is no name of a study"),
    (f"study: {300 * 'a'}\n", "is no name of a study"),
    ("studi: demo\n", "unknown key 'studi'; did you mean 'stud"),
    ("studies: nowhere\n", "studies: there is no folder nowhere"),
    ("studies: config.yaml\n", "studies: there is no folder config.yaml"),
    ("studies: 3\n", "studies: 3 is not of type string"),
    ("studies: ''\n", "studies: Value should have at least 1"),
    ("compare: nowhere\n", "compare: there is no folder nowhere"),
    ("compare: x; touch HACK\n", "compare: there is no folder x; touch HACK"),
    ("results: config.yaml\n", "results: config.yaml is no folder"),
    ("figures: config.yaml\n", "figures: config.yaml is no folder"),
    ("results: ''\n", "results: Value should have at least 1"),
    ("results: 3\n", "results: 3 is not of type string"),
    ("results: null\n", "results: None is not of type string"),
    ("results: -rf\n", "results: a path begins with no '-'"),
    ("results: a{study}b\n", "results: a path begins"),
    ('results: "a\\nb"\n', "results: a path begins"),
    ('figures: "a\\0b"\n', "figures: a path begins"),
    (f"results: {LONG}\n", f"results: {LONG}: File name too long"),
    (f"figures: {LONG}\n", f"figures: {LONG}: File name too long"),
    (f"studies: {LONG}\n", f"studies: {LONG}: File name too long"),
    (f"compare: {LONG}\n", f"compare: {LONG}: File name too long"),
    ("data: {cifar: ~nosuch/x}\n", "data.cifar: there is no home folder ~nosuch; a folder of that name here is ./~nosuch/x"),
    ("results: ~nosuch\n", "results: there is no home folder ~nosuch"),
    ("studies: ~/nowhere\n", "studies: there is no folder /"),
    ("store: png\n", "store: 'png' is not one of pixels, jpeg"),
    ("data: /data\n", "data: '/data' is not of type mapping"),
    ("data: null\n", "data: None is not of type mapping"),
    ("data: {imagnet: /data}\n", "data: unknown key 'imagnet'; did you mean 'imagenet'?"),
    ("data: {imagenet: 3}\n", "data.imagenet: 3 is not of type string"),
    ("data: {imagenet: [a, b]}\n", "data.imagenet: ['a', 'b'] is not of type string"),
    ("weights: {clip: true}\n", "weights.clip: True is not of type string"),
    ("weights: {resnet: x}\n", "weights: unknown key 'resnet'; did you mean 'resnet101'?"),
]  # fmt: skip


def one_line(arguments, capsys):
    """What a command says that is refused."""
    assert cli.main(arguments) != 0
    found = capsys.readouterr()
    assert found.err.startswith("Error: ") and found.err.count("\n") == 1 and not found.out
    return found.err


@pytest.mark.parametrize(("text", "message"), CONFIGS)
def test_a_wrong_config(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = one_line(["cells"], capsys)
    assert said.startswith("Error: config.yaml: ") and message in said
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


FILES = [
    ("", "mine.yaml: inherits: missing; a study of your own inherits from one of a paper's"),
    ("{}\n", "mine.yaml: inherits: missing"),
    ("# nothing\n", "mine.yaml: inherits: missing"),
    ("null\n", "mine.yaml: inherits: missing"),
    ("false\n", "mine.yaml: a study is a mapping"),
    ("demo\n", "mine.yaml: a study is a mapping"),
    ("[]\n", "mine.yaml: a study is a mapping"),
    ("inherits: mine\n", "mine.yaml: inherits: 'mine' inherits from itself"),
    ("inherits: yours\n", "yours.yaml: inherits: 'mine' inherits from itself"),
    ("inherits: dmeo\n", "mine.yaml: inherits: there is no study 'dmeo'; did you mean 'demo'?"),
    ("inherits: ../demo\n", "mine.yaml: inherits: '../demo' is no name of a study"),
    ("inherits: [demo]\n", "mine.yaml: inherits: ['demo'] is no name of a study"),
    ("inherits: 3\n", "mine.yaml: inherits: 3 is no name of a study"),
    ("inherits: demo\ninherits: paper\n", "mine.yaml: not valid YAML: the key 'inherits' twice"),
    ("inherits: smoke\nroot: nowhere\n", "mine.yaml: root: there is no study 'nowhere'"),
    ("inherits: smoke\npublished: nowhere\n", "mine.yaml: published: there is no study 'nowhere'"),
    ("inherits: smoke\nroot: ''\n", "mine.yaml: root: '' is no name of a study"),
    ("inherits: smoke\npublished: 3\n", "mine.yaml: published: 3 is not of type string"),
    ("inherits: smoke\nspreads: demo\n", "mine.yaml: spreads: a study of several trainings measures them, not study 'demo' with"),
    ("inherits: smoke\nspreads: mine\ntraining_seeds: [1, 2]\n", "mine.yaml: spreads: a study of several trainings measures them, not the study itself"),
    ("inherits: smoke\npublished: simclr-published\n", "mine.yaml: published: study 'simclr-published' is about another"),
    (b"inherits: smoke\ndescription: d\xe9mo\n", "mine.yaml: not valid YAML"),
    (b"\xff\xfe\x00", "mine.yaml: not valid YAML"),
    (b"inherits: smoke\n\tseed: 3\n", "mine.yaml: not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_wrong_file_of_a_study(study_of, tmp_path, text, message):
    study_of("", parent="smoke")  # the folder is found now
    papers.study.cache_clear()
    folder = tmp_path / "own studies"
    (folder / "yours.yaml").write_text("inherits: mine\n")
    (folder / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in refusal(lambda: ready.check(papers.study("mine")))


def test_a_study_with_another_ending_is_told_its_own(study_of, tmp_path):
    study_of("", parent="smoke")  # the folder is found now
    (tmp_path / "own studies/other.yml").write_text("inherits: smoke\n")
    assert "own studies/other.yml is no study: studies end in .yaml" in refusal(papers.study, "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "module 'contrastive_inversion.papers.half_0' has no attribute 'PAPER'"),
        ("PAPER = 30\n", "PAPER is no ledger.paper.Paper"),
        ("PAPER = (\n", "'(' was never closed (__init__.py, line 1)"),
    ],
)
def test_a_half_written_paper(tmp_path, monkeypatch, text, message):
    name = f"half_{len(text)}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.setattr(papers, "HERE", tmp_path)
    monkeypatch.setattr(papers, "__path__", [str(tmp_path)])
    assert refusal(papers.products) == f"papers/{name}: {message}"


COMMANDS = [
    (["tabel", "1"], "No such command 'tabel'"),
    (["table"], "Missing argument 'NUMBER'"),
    (["table", "one"], "'one' is not a valid integer"),
    (["table", "1.5"], "'1.5' is not a valid integer"),
    (["table", "99"], "study demo has no table 99; it has 1, 2"),
    (["table", "--", "-1"], "study demo has no table -1"),
    (["table", "1", "2"], "unexpected extra argument"),
    (["table", "1", "--study"], "requires an argument"),
    (["table", "1", "--stduy", "demo"], "No such option"),
    (["table", "1", "--study", "dmeo"], "there is no study 'dmeo'; did you mean 'demo'?"),
    (["table", "1", "--study", ""], "is no name of a study"),
    (["table", "1", "--study", "../demo"], "'../demo' is no name of a study"),
    (["table", "1", "--study", "a\0b"], "is no name of a study"),
    (["table", "1", "--results", "FILE"], "is a file"),
    (["table", "1"], "-rm50/imagenet100.json: missing"),
    (["figure", "2"], "study demo has no figure 2; it has 1, 3"),
    (["figure", "3", "--figures", "FILE"], "is a file"),
    (["summary", "--table", "x"], "'x' is not a valid integer"),
    (["summary", "--table", "3"], "study demo has no table 3"),
    (["recipe"], "Missing argument 'PRODUCT'"),
    (["recipe", ""], "'' is no product"),
    (["recipe", "encoders"], "'encoders' is no product"),
    (["recipe", "encoders/"], "'' is no name of an encoder"),
    (["recipe", "encoders/../x"], "'encoders/../x' is no product"),
    (["recipe", "encoders/a b"], "'a b' is no name of an encoder"),
    (["recipe", "images/nothing"], "unknown data set 'nothing'"),
    (["recipe", "heads/nothing/imagenet100"], "unknown encoder 'nothing'; known: "),
    (["recipe", "measurements/student-rm90/nothing"], "nothing is measured of"),
    (["recipe", "denoised/imagenet100/gn10/1"], "there is no block '1'"),
    (["recipe", "inpainted/nothing/rm50/0"], "unknown data set 'nothing'"),
    (["recipe", "galleries/figure_99"], "there is no gallery 'figure_99'"),
    (["report", "--compare", "FILE"], "is a file"),
    (["report", "--compare", "nowhere"], "--compare: nowhere holds no measurements; name the folder of a run"),
    (["report", "--compare", "."], "--compare: . holds no measurements; name the folder of a run"),
    (["doctor", "table_99"], "study demo has no target 'table_99'"),
    (["fetch", "everything"], "is not one of"),
    (["plan", "--card", ""], "--card: '' is no card"),
    (["plan", "--card", " ", "--study", "paper"], "--card: '' is no card"),
    (["plan", "--card", "RTX 3090"], "--card: 'RTX 3090' changes nothing: study demo takes no GPU"),
    (["spreads", "--study", "published"], "study published has a single training seed: of one training there is no spread"),
    (["status", "--results", "FILE"], "is a file"),
    (["--config", "nowhere.yaml", "cells"], "nowhere.yaml: there is no such file; run this where config.yaml lies"),
    (["make", "images/x", "--root", "r", "--paper", "nothing", "--recipe", "{}"], "there is no paper 'nothing'"),
    (["make", "images/x", "--root", "r", "--paper", "../x", "--recipe", "{}"], "there is no paper '../x'"),
    (["make", "../x", "--root", "r", "--paper", "inverse_problems", "--recipe", "{}"], "'../x' is no product"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", "{"], "a recipe that is no JSON"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", 5000 * "["], "a recipe that is no JSON"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", "[]"], "a recipe that is no mapping"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", "{}"], "a recipe of kind 'None'"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", '{"kind": []}'], "a recipe of kind"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", '{"kind": "images"}'], "missing"),
    (["make", "images/x", "--root", "r", "--paper", "inverse_problems"], "Missing option '--recipe'"),
    (["make", "images/x", "--root", "r", "--paper", "x", "--recipe", "{}", "--gpus", "-1"], "is not in the range"),
    (["make", "images/x", "--root", "r", "--paper", "x", "--recipe", "{}", "--threads", "0"], "is not in the range"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), COMMANDS)
def test_a_wrong_command(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    if arguments[0] == "--config":
        monkeypatch.delenv(machine.VARIABLE)
    assert message in one_line(arguments, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclr-demo", "here: study 'simclr-demo' is about another paper"),
        ("nothing", "here: there is no study 'nothing'"),
    ],
)
def test_a_run_of_no_study_of_the_paper_is_not_compared(tmp_path, name, message):
    (tmp_path / name / "measurements").mkdir(parents=True)
    assert message in refusal(lambda: ready.check_compared(tmp_path / name, papers.study("published"), "here"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: dmeo\n", "study: there is no study 'dmeo'"),
        ("studies: nowhere\n", "studies: there is no folder nowhere"),
        ("results: mine.yaml\n", "results: mine.yaml is no folder"),
    ],
)
def test_what_is_wrong_is_said_of_the_file_that_was_given(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "mine.yaml").write_text(text)
    assert one_line(["--config", "mine.yaml", "cells"], capsys).startswith(f"Error: mine.yaml: {message}")


@pytest.mark.parametrize(
    ("module", "file", "old", "new", "message"),
    [
        (raw, "authors_raw_results.csv", "0.8094", "many", "could not convert string to float: 'many'"),
        (raw, "authors_raw_results.csv", "0.8094", "nan", "nan is not finite"),
        (raw, "authors_raw_results.csv", "root,experiment", "roof,experiment", "KeyError: 'root'"),
        (raw, "authors_raw_results.csv", "results,blur21_st,fixed_res.out", "results,blur22_st,x", "KeyError"),
        (raw, "authors_notebook.csv", "0.7832", "", "could not convert"),
        (distances, "distances.csv", "0.1447", "x", "could not convert string to float: 'x'"),
    ],
)
def test_wrong_raw_results(tmp_path, monkeypatch, module, file, old, new, message):
    for path in papers.paper(module.__name__.split(".")[2]).printed.glob("*.csv"):
        (tmp_path / path.name).write_text(
            path.read_text().replace(old, new, 1) if path.name == file else path.read_text()
        )
    monkeypatch.setattr(
        module, "PRINTED" if module is raw else "DISTANCES", tmp_path if module is raw else tmp_path / file
    )
    said = refusal(module.results.__wrapped__)
    assert file in said and message in said


# --- random changes of what is right --------------------------------------------------------------------------------

VALUES = [
    None, True, 0, -1, 1, 10**30, 1e300, float("nan"), float("inf"), "", "x", "a\nb", "$x", "{x}", "../x", 500 * "y", [],
    {}, [[]], {"op": "mask"}, {1: 2}, [None], "demo", "trained", [0, 1], [1, 0], "student-rm50 | own | a | b | c",
]  # fmt: skip


def places(content, within=()):
    """The keys on the way to every value inside of nested settings."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [way for key, value in items for way in ((*within, key), *places(value, (*within, key)))]


def changed(content, draw):
    """Settings with one value dropped, renamed, of another type, nested, or in another's place."""
    content = copy.deepcopy(content)
    ways = places(content)
    *way, key = draw.choice(ways)
    parent, other = content, content
    for step in way:
        parent = parent[step]
    for step in draw.choice(ways):
        other = other[step]
    how = draw.choice(["drop", "rename", "retype", "retype", "retype", "nest", "swap", "twice"])
    if how == "drop":
        del parent[key]
    elif how == "rename" and isinstance(parent, dict):
        parent[draw.choice([f"{key}x", "", 3, None, "a b", "lr"])] = parent.pop(key)
    elif how == "twice" and isinstance(parent, list):
        parent.append(parent[key])
    else:
        nested = draw.choice([[parent[key]], {"x": parent[key]}, {str(key): parent[key]}])
        parent[key] = copy.deepcopy({"nest": nested, "swap": other}.get(how, draw.choice(VALUES)))
    return content


def accepted(act):
    """Whether something is accepted; what is refused is so in one line."""
    try:
        act()
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return False
    return True


def anything(examples):
    """Of hypothesis: so many examples, the same in every run, however long each takes."""
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )


@pytest.mark.parametrize("name", ["smoke", "simclr-demo"])
@anything(250)
@given(draw=st.randoms(use_true_random=False))
def test_a_changed_study_is_accepted_or_refused_in_a_line(tmp_path, name, draw):
    study = papers.study(name)
    said = study.said | ({"tables": [1], "figures": [3, 11]} if name == "smoke" else {})
    content = changed(said, draw)
    files = [StudyFile(tmp_path / "mine.yaml", content)]

    def read():
        ready.check(Study("mine", study.paper, typed(content, study.paper.settings, files), content, files))

    event("accepted" if accepted(read) else "refused")


@pytest.mark.parametrize("file", ["tables.yaml", "figures.yaml", "claims.yaml"])
@anything(40)
@given(draw=st.randoms(use_true_random=False))
def test_a_changed_ledger_is_accepted_or_refused_in_a_line(tmp_path_factory, file, draw):
    content = changed(read_yaml(papers.paper("inverse_problems").printed / file), draw)
    text = json.dumps(content) if file == "claims.yaml" else yaml.safe_dump(content)
    study = study_but("smoke", tmp_path_factory.mktemp("ledger"), {file: text}, tables=[1, 6], figures=[3, 11])
    accepted(lambda: ready.check(study))


PARTS = [
    ["student-rm50", "teacher", "resnet", "baseline-gn30", "student-rm50-seed2"],
    ["own", "probe 100%", "probe 10% on clean", "probe 0%", "beside teacher"],
    ["imagenet100", "covid", "imagenet100c", "label_shift"],
    ["clean", "rm50", "rm7..7", "blur37 5.0", "gaussian_noise/3", "nlm-gn10"],
    ["top1", "top5", "auc", "cosine"],
]
QUANTITIES = st.text() | st.tuples(*(st.sampled_from(part) | st.text() for part in PARTS)).map(" | ".join)


@anything(1000)
@given(text=QUANTITIES)
def test_any_text_is_a_quantity_or_refused_in_a_line(text):
    def read():
        quantity = quantities.parse(text)
        assert quantities.parse(str(quantity)) == quantity
        quantities.check(quantity, papers.study("demo"), "tables.csv")

    event("accepted" if accepted(read) else "refused")


@anything(60)
@given(key=st.sampled_from([*printed.Row.model_fields, "unknown"]), text=st.text(max_size=30) | st.floats().map(str))
def test_any_text_in_a_printed_row_is_accepted_or_refused_in_a_line(tmp_path_factory, key, text):
    path = papers.paper("inverse_problems").printed / "tables.csv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[1][key] = text
    written = io.StringIO()
    writer = csv.DictWriter(written, list(dict.fromkeys([*rows[0], key])))
    writer.writeheader()
    writer.writerows(rows)
    study = study_but("smoke", tmp_path_factory.mktemp("row"), {"tables.csv": written.getvalue()}, tables=[1, 6])
    accepted(lambda: ready.check(study))


@pytest.mark.parametrize(
    ("text", "value"),
    [("765e646e1", "765e646e1"), ("3e-4", 3e-4), ("1e5x", "1e5x"), ("1.5E3", 1500.0), ("12e", "12e")],
)
def test_a_checksum_that_begins_like_a_number_is_a_text(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"sha256: {text}\n")
    assert read_yaml(tmp_path / "a.yaml")["sha256"] == value


# --- hostile text ---------------------------------------------------------------------------------------------------


def test_html_comes_out_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    study = study_but("published", description=evil, tables=[6], figures=[], also=[])
    facts = dict.fromkeys(["device", "code", "torch", "started"], evil)
    for product in plan.measurements(study):
        rows = plan.recipe_of(product, study).rows
        write_rows(study, tmp_path, product, [row | {"origin": f"{evil} & <b>"} for row in rows], **facts)
    said = accepted_of.Accepted(products=[evil], before=evil, now=evil, changes=[evil], because=evil, when=evil)
    accepted_of.add(tmp_path / "published", [said])
    page.write(study, tmp_path, tmp_path)
    text = (tmp_path / "published/report.html").read_text()
    assert evil not in text and '<b>"' not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 1 + 4 + 4 + 4


# --- through Snakemake ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"study: d\xe9mo\n", "Error: config.yaml: not valid YAML"),
        (b"compare: 'x; touch HACK'\n", "Error: config.yaml: compare: there is no folder x; touch HACK"),
        (b"studies: own\nstudy: mine\n", "mine.yaml: distill.lr: 10000000000.0 is above 1000"),
    ],
)
def test_snakemake_says_it_too_and_writes_nothing(tmp_path, text, message):
    (tmp_path / "config.yaml").write_bytes(text)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/mine.yaml").write_text("inherits: smoke\ndistill: {lr: 1e10}\n")
    said = snakemake(tmp_path)
    assert said.status != 0 and message in said.text and "Traceback" not in said.text
    assert {path.name for path in tmp_path.iterdir()} <= {"config.yaml", "own", ".snakemake"}


def test_snakemake_names_the_file_of_configuration_that_was_given(tmp_path):
    (tmp_path / "config.yaml").write_text("study: demo\n")
    (tmp_path / "mine.yaml").write_text("compare: .\n")
    said = snakemake(tmp_path, "--configfile", tmp_path / "mine.yaml")
    assert said.status != 0 and f"Error: {tmp_path}/mine.yaml: compare: . holds no measurements" in said.text


def test_paths_with_blanks_and_semicolons_are_only_paths(tmp_path):
    folder = "a b; touch HACK 'c' $(touch HACK)"
    (tmp_path / folder / "published/measurements").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(
        f"study: published\nresults: {json.dumps(folder)}\nfigures: {json.dumps(folder)}\n"
        f"compare: {json.dumps(folder + '/published')}\n"
    )
    target = f"{folder}/published/tables/table_6.csv"
    snakemake(tmp_path, target).check()
    assert (tmp_path / target).exists()
    assert not list(tmp_path.rglob("HACK")) and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("figures/demo/figure_2.pdf", "Error: study demo has no figure 2; it has 1, 3, 4"),
        ("results/demo/tables/table_99.csv", "Error: study demo has no table 99; it has 1, 2, 3"),
    ],
)
def test_a_file_of_no_table_or_figure_is_one_line(tmp_path, target, message):
    said = snakemake(tmp_path, "-n", target)
    assert said.status != 0 and message in said.text and "Traceback" not in said.text


def a_file(folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("")


def a_link_to_itself(folder):
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)


@pytest.mark.parametrize(
    ("instead", "message"), [(a_file, "Not a directory"), (a_link_to_itself, "Too many levels of symbolic links")]
)
def test_what_is_no_folder_of_results_is_one_line(tmp_path, instead, message):
    target = "results/published/tables/table_6.csv"
    instead((tmp_path / target).parent)
    said = snakemake(tmp_path, "-n", target, study="published")
    assert said.status != 0 and f"Error: {target}: {message}" in said.text and "Traceback" not in said.text
