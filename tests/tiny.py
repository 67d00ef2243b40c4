"""Small stores and encoders on disk, and jobs that read them, so that a training takes a moment."""

import torch

from contrastive_inversion.base import files
from contrastive_inversion.base.job import Job, file_of
from contrastive_inversion.data.settings import Pictures
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Step
from contrastive_inversion.learn.settings import Network

SIZE = 48
NETWORK = Network(architecture="convnet", model=f"embedding-128/{SIZE}", mean=[0.5] * 3, std=[0.25] * 3)
WHOLE = Pictures(image_size=SIZE, crop="random", flip=0)  # of squares that are stored at this size
HASH = "of the recipe"


def pictures(count, seed=0):
    """Noise on colours, nowhere black: uint8 (count, SIZE, SIZE, 3), and three labels in turn."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(1, 160, (count, 1, 1, 3), generator=generator)
    noise = torch.randint(0, 90, (count, SIZE, SIZE, 3), generator=generator)
    return (colours + noise).to(torch.uint8), torch.arange(count) % 3


def seen(images):
    """Stored pictures as a network sees them: float32 (N, 3, SIZE, SIZE)."""
    return images.permute(0, 3, 1, 2).float() / 255


def write(root, product, tensors, recipe):
    path = root / file_of(product)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.save(path, tensors, {"recipe_hash": HASH, "recipe": recipe, "classes": ["white dog", "black dog", "cat"]})


def store(root, name="imagenet100", **splits):
    """A store of some splits, each of (images, labels)."""
    tensors = {f"{split}/images": images for split, (images, _) in splits.items()}
    tensors |= {f"{split}/labels": labels for split, (_, labels) in splits.items()}
    write(root, f"images/{name}", tensors, {"settings": {"source": "glyphs", "stored": SIZE, "train": 1}})


def encoder(root, name, classes=None, seed=0):
    """An encoder, or with classes a classifier, of random weights: as on disk, in eval mode.

    Its statistics are those of pictures, and its classes are about as likely as one another.
    """
    torch.manual_seed(seed)
    model = networks.build(NETWORK)
    for _ in range(20):
        embeddings = model(seen(pictures(30, seed=99)[0])).detach()
    if classes is not None:
        model = networks.Classifier(model, torch.nn.Linear(model.dim, classes))
        model.head.bias.data = -model.head.weight.detach() @ embeddings.mean(dim=0)
    write(root, f"encoders/{name}", networks.state(model), {"network": NETWORK.said()})
    return model.eval()


def job(root, product, *inputs):
    """A job that makes a product of some others."""
    return Job(product, root, "its own recipe", dict.fromkeys(inputs, HASH))


def step(index, epoch=0, number=0, device="cpu"):
    """A step of a training that sees some images."""
    return Step(index, epoch, number, index.to(device))
