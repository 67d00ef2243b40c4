"""What trainings and frozen passes of networks take: from a recipe's network, batch and number of images. No torch."""

from contrastive_inversion.base.rates import Footprint, footprint
from contrastive_inversion.base.work import GB, Amounts, Work
from contrastive_inversion.data.work import Behind
from contrastive_inversion.learn.settings import Network, Training

AT_ONCE = 250  # images of a frozen pass; in eval mode it changes nothing but memory
BACKWARD = 3  # forward passes that a forward and a backward one are worth
BYTES_OF_TRAINED_WEIGHT = 16  # itself, its gradient and Adam's two moments, in fp32
RAM_OF_TORCH = 0.6  # GB
KEPT_BESIDES = 1.1  # workspaces and temporary tensors, of what a backward pass keeps
LIVE = 0.07  # at once without a backward pass, of what one would keep
FROZEN = (1, LIVE)  # (forward passes per step, share of activations kept) of a network that is not trained


def of_network(network: Network, size: int) -> Footprint:
    """What a network takes for an image of a size."""
    return footprint(network.architecture, network.model, size)


def network_of(encoder: str, behind: Behind) -> Network:
    """The network of an encoder among a job's inputs."""
    network: Network = behind[encoder].network  # type: ignore[attr-defined]
    return network


def precision_of(precision: str) -> str:
    """The half of a rate's name that says how a network is computed; tf32 is taken to be no faster than fp32."""
    return "16bit" if precision in ("bf16", "fp16") else "fp32"


def distorted(images: float, size: int) -> Amounts:
    """What distorting images takes."""
    return {"distort": images * size**2 / 1e6}


def training(
    network: Network, size: int, settings: Training, images: int, feed: Amounts, *, views: int = 1, extra: float = 0,
    backward: float = BACKWARD, kept: float = 1,
) -> Work:  # fmt: skip
    """A training on so many images an epoch.

    feed: of all epochs; views: of each image that are trained on; extra: forward passes of other networks;
    backward: forward passes that one step through the trained network is worth; kept: what it keeps for its backward
    pass, of what one without a penalty keeps.
    """
    one, seen = of_network(network, size), images * settings.epochs
    kind = precision_of(settings.precision)
    share = 0.5 if kind == "16bit" else 1.0
    recompute = settings.recompute and backward > 1  # without a backward pass there is nothing to compute anew
    kept_mb = one.recomputed_mb if recompute and one.recomputed_mb else one.kept_mb
    image_gb = KEPT_BESIDES * share * views * kept * kept_mb / 1e3
    flops = seen * ((backward + recompute) * views + extra) * one.gflop / 1e3  # TFLOP
    state_gb = 0.75 * BYTES_OF_TRAINED_WEIGHT * one.weights / GB
    return Work(
        device={f"train_{kind}": flops, **distorted(views * seen, size)},
        feed=feed,
        host={"save": settings.epochs * state_gb},  # the device waits for it
        gpu_gb=BYTES_OF_TRAINED_WEIGHT * one.weights / GB + settings.batch * image_gb,
        image_gb=image_gb,
        batch=settings.batch,
        ram_gb=RAM_OF_TORCH + 2 * BYTES_OF_TRAINED_WEIGHT * one.weights / GB,
        kept_gb=4 * one.weights / GB,
        state_gb=state_gb,
        saves=settings.epochs,
    )


def embedding(
    network: Network, size: int, images: float, feed: Amounts, batch: int, precision: str = "fp32"
) -> Work:  # fmt: skip
    """Passes of images through a frozen network, and the distortion of each."""
    one = of_network(network, size)
    image_gb = LIVE * one.kept_mb / 1e3
    return Work(
        device={f"embed_{precision_of(precision)}": images * one.gflop / 1e3, **distorted(images, size)},
        feed=feed,
        gpu_gb=4 * one.weights / GB + batch * image_gb,
        image_gb=image_gb,
        batch=batch,
        ram_gb=RAM_OF_TORCH + 8 * one.weights / GB,
        kept_gb=1e-4,
    )


def embeddings_gb(images: float, dim: int) -> float:
    """What the embeddings of images that heads are fitted on take of the device: twice, while batches are joined."""
    return 2 * 4 * images * dim / GB


def linear_heads(steps: float, batch: int, dim: int, classes: int) -> Amounts:
    """What fitting linear heads for so many steps takes on a core."""
    return {"head_step": steps, "head": 6e-12 * steps * batch * dim * classes}
