"""Recipes of the second report's studies: encoders without labels, supervised ones, probes, attacks."""

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan, quantities


def encoders(study, name):
    """The recipe of a training: its family, the share of labels, the weight of its penalty, and its seed."""
    match = quantities.ROBUST_ENCODER.fullmatch(name)
    if not match:
        raise UserError(f"unknown encoder '{name}'")
    common = {"seed": int(match["seed"] or study["seed"]), "train": "images/cifar10", "inputs": ["images/cifar10"]}
    strength, labels = float(match["strength"] or 0), float(match["labels"] or 100)
    return common | FAMILIES[match["family"]](study, strength, labels, match["seed"])


def contrastive(study, strength, labels, seed):
    return {
        "kind": "contrastive", "network": study["networks"]["contrastive"],
        "settings": trained("contrastive", study, strength, 100), "images": augmented("contrastive", study),
    }  # fmt: skip


def supervised(study, strength, labels, seed):
    return {
        "kind": "classifier", "network": study["networks"]["supervised"], "labels": labels,
        "settings": trained("supervised", study, strength, labels), "images": augmented("supervised", study),
    }  # fmt: skip


def finetuned(study, strength, labels, seed):
    initial = "encoders/contrastive" + (f"-lambda{strength:g}" if strength else "") + (f"-seed{seed}" if seed else "")
    return {
        "kind": "finetuned", "network": study["networks"]["contrastive"], "labels": labels, "initial": initial,
        "settings": trained("finetuned", study, 0, labels), "images": augmented("finetuned", study),
        "inputs": ["images/cifar10", initial],
    }  # fmt: skip


FAMILIES = {"contrastive": contrastive, "supervised": supervised, "finetuned": finetuned}


def trained(family, study, strength, labels):
    """A training's settings: `part` holds what differs where only a part of the labels is known, `regularised` and
    `unregularised` what differs with or without a penalty.
    """
    settings = plan.without(study[family], "images", "part", "regularised", "unregularised")
    settings |= study[family].get("regularised" if strength else "unregularised", {})
    if labels < 100:
        settings |= study[family].get("part", {})
    return settings | ({"strength": strength} if strength else {})


def augmented(family, study):
    """How a family's training images are cropped and flipped."""
    return {"image_size": study["image_size"]} | study[family]["images"]


def heads(study, encoder, data):
    """All probes that the study asks of an encoder."""
    wanted = {
        probe
        for quantity in plan.study_quantities(study["name"])
        if (probe := quantities.probe_of(quantity)) and (probe.encoder, quantity.data) == (encoder, data)
    }
    probes = [{"key": p.key, "fraction": float(p.fraction)} for p in sorted(wanted, key=lambda p: p.key)]
    return {
        "kind": "logistic", "encoder": f"encoders/{encoder}", "train": f"images/{data}", "probes": probes,
        "settings": study["probe"], "images": plan.image_settings(study),
        "inputs": [f"encoders/{encoder}", f"images/{data}"],
    }  # fmt: skip


def measurements(study, encoder, data):
    """Clean accuracy and attacks of an encoder's classifiers."""
    if not study["measured"]:
        return plan.transcribed(study, encoder, data)
    wanted = [q for q in plan.study_quantities(study["name"]) if (q.encoder, q.data) == (encoder, data)]
    if not wanted:
        raise UserError(f"study {study['name']}: nothing is measured of '{encoder}' on '{data}'")
    levels = [level_of(study, name, wanted) for name in sorted({q.distortion for q in wanted})]
    needed = [f"encoders/{encoder}", f"images/{data}"]
    if any("key" in head for level in levels for head in level["heads"]):
        needed.append(f"heads/{encoder}/{data}")
    return {
        "kind": "attack", "encoder": f"encoders/{encoder}", "test": f"images/{data}", "levels": levels,
        "settings": settings_of_attacks(study, encoder), "images": plan.image_settings(study),
        "classes_of": data, "split": plan.split_of(study, data), "inputs": needed,
    }  # fmt: skip


def level_of(study, name, wanted):
    here = [q for q in wanted if q.distortion == name]
    level = {"name": name, "heads": [plan.head_of(q) for _, q in sorted({q.head: q for q in here}.items())]}
    level["metrics"] = sorted({q.metric for q in here})
    return level | ({"settings": study["attacks"][name]} if name != "clean" else {})


def settings_of_attacks(study, encoder):
    """Which images are attacked, how many at a time, and on which features."""
    settings = plan.without(study["attacks"], *quantities.ATTACKS, "regularised_images")
    if "regularised_images" in study["attacks"] and "contrastive-lambda" in encoder:
        settings |= {"images": study["attacks"]["regularised_images"]}
    return settings


BUILDERS = {"encoders": encoders, "heads": heads, "measurements": measurements}
