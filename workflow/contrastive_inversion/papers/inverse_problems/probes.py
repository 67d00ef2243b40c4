"""Linear probes: all label fractions and training distortions of an encoder, fitted over one frozen pass.

The encoder stays in eval mode. In each epoch every image is cropped and distorted anew and embedded once; each
probe then takes the embeddings of its own labelled subset.
"""

import math

import torch
import torch.nn.functional as F

from contrastive_inversion.base import rng
from contrastive_inversion.base.job import Progress
from contrastive_inversion.data import store
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import ahead, learning_rate

EMBEDDED_AT_ONCE = 250  # images; in eval mode it changes nothing but memory


def stratified(labels, fraction, seed):
    """Positions of a labelled subset: ceil(fraction % of each class), drawn without replacement: int64, sorted."""
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label)[:, 0]
        # rounding keeps 10 % of 30 images at 3 where floating point has 3.0000000000000004
        count = math.ceil(round(fraction * len(members) / 100, 9))
        shuffled = members[rng.permutation(len(members), seed, f"subset/{fraction:g}/{label}")]
        chosen.append(shuffled[:count])
    return torch.cat(chosen).sort().values


def labelled(labels, fraction, seed, how="stratified"):
    """Positions of a labelled subset: `stratified`, or drawn `uniform`ly from all images alike: int64, sorted."""
    if how == "stratified":
        return stratified(labels, fraction, seed)
    count = math.ceil(round(fraction * len(labels) / 100, 9))
    return rng.permutation(len(labels), seed, f"subset/{fraction:g}")[:count].sort().values


def settings_of(spec, settings):
    """Which of a study's `probe` settings a probe takes; a stalled schedule's period goes with its share of labels."""
    if not spec["distortion"] and "clean" in settings:
        return settings["clean"]
    found = settings["full" if spec["fraction"] == 100 else "subset"]
    return found | ({"period": found["period"] * spec["fraction"] / 100} if "period" in found else {})


class Probe:
    """One linear layer on frozen embeddings, with its labelled subset and its optimiser (Adam, cosine)."""

    def __init__(self, spec, data, dim, settings, seed):
        self.settings = {"schedule": "cosine"} | settings_of(spec, settings)
        self.key, self.seed = spec["key"], seed
        self.subset = stratified(data.labels, spec["fraction"], seed)
        self.labels = data.labels
        torch.manual_seed(seed)
        self.linear = torch.nn.Linear(dim, data.classes)
        self.optimizer = torch.optim.Adam(self.linear.parameters(), lr=self.settings["lr"])
        self.steps = math.ceil(len(self.subset) / self.settings["batch"])
        self.epochs = self.settings["epochs"]

    def fit_epoch(self, embeddings, rows, epoch):
        """One pass over the subset. embeddings: (M, dim); rows: each image's row there, int64 (N,)."""
        order = rng.permutation(len(self.subset), self.seed, f"probe/{self.key}", epoch)
        for number, index in enumerate(self.subset[order].split(self.settings["batch"])):
            self.optimizer.param_groups[0]["lr"] = learning_rate(
                self.settings, epoch * self.steps + number, self.steps, self.epochs
            )
            logits = self.linear(embeddings[rows[index]])
            loss = F.cross_entropy(logits, self.labels[index])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()


def fit(recipe, job, load):
    """Fit all probes of an encoder on a data set. Returns `<key>.weight`, `<key>.bias` of each, and facts.

    load(product) gives the path and the recipe's hash of an input product.
    """
    data = store.split(*load(recipe["train"]), "train")
    encoder, _, _ = networks.load(*load(recipe["encoder"]))
    encoder.to(job.device)
    groups = {}
    for spec in recipe["probes"]:
        probe = Probe(spec, data, encoder.dim, recipe["settings"], recipe["seed"])
        groups.setdefault(str(spec["distortion"]), (spec["distortion"], []))[1].append(probe)
    total = sum(max(probe.epochs for probe in probes) for _, probes in groups.values())
    progress = Progress(job, total, len(data))
    for distortion, probes in groups.values():
        fit_group(encoder, data, distortion, probes, recipe, job, progress)
    progress.close()
    fitted = [probe for _, probes in groups.values() for probe in probes]
    tensors = {f"{p.key}.{name}": t for p in fitted for name, t in p.linear.state_dict().items()}
    return tensors, {"labelled_images": {p.key: len(p.subset) for p in fitted}}


def fit_group(encoder, data, distortion, probes, recipe, job, progress):
    """Fit the probes that are trained under one distortion."""
    for epoch in range(max(probe.epochs for probe in probes)):
        active = [probe for probe in probes if epoch < probe.epochs]
        needed = torch.cat([probe.subset for probe in active]).unique()
        embeddings = embed(encoder, data, needed, distortion, epoch, recipe, job)
        rows = torch.full((len(data),), -1).scatter(0, needed, torch.arange(len(needed)))
        for probe in active:
            probe.fit_epoch(embeddings, rows, epoch)
        progress.advance(epoch, len(data))


@torch.no_grad()
def embed(encoder, data, needed, distortion, epoch, recipe, job):
    """Embeddings of freshly cropped and distorted images: float32 (len(needed), dim), on the CPU."""
    seed = recipe["seed"]

    def batch_of(index):
        return index, store.training_batch(data, index, recipe["images"], seed, epoch, job)

    rows = []
    for index, clean in ahead(batch_of, needed.split(EMBEDDED_AT_ONCE), job.threads):
        distorted = corrupt(clean, distortion, seed, "probe", index.to(job.device), epoch)
        rows.append(encoder(distorted).cpu())
    return torch.cat(rows)
