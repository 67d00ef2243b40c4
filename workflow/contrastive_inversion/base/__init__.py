"""Words that every room uses; knows no image and no paper."""
