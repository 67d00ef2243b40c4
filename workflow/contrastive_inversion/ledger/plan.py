"""Recipes: for every product of a study, the canonical description that fixes it, and nothing else.

A product is named by where it lies below results/<study>: `images/imagenet100`, `encoders/student-rm90`,
`heads/student-rm90/imagenet100`, `measurements/student-rm90/imagenet100`, ... Its recipe holds the settings that
matter and, for each input product, the hash of that one's recipe. Snakemake's rules take their inputs and their
only parameter from here, so a change of formatting, of key order or of an unrelated setting leaves it alone, and
a change of a value that matters reaches everything downstream.
"""

import functools
import hashlib
import json

from contrastive_inversion.base import studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.distort import names
from contrastive_inversion.ledger import quantities

# Raised by hand when the code of a kind of job changes what it computes.
RECIPE_VERSION = {
    "contrastive": 1, "classifier": 1, "finetuned": 1, "logistic": 1, "attack": 1,
    "images": 1, "weights": 1, "clip": 1, "supervised": 1, "distill": 1, "heads": 1, "restore": 1, "measure": 1,
    "gallery": 1, "transcribe": 1,
}  # fmt: skip
# A setting at its default is left out, so that a new setting does not change the recipes that do not use it.
DEFAULTS = {
    "weight_decay": 0, "momentum": 0, "warmup": 0, "flip": 0, "purpose": "images", "schedule": "constant",
    "precision": "fp32", "channels_last": True, "compile": False, "shards": 1, "teacher_mode": "eval", "input": "fp32",
    "frozen": False, "order": "shuffled",
}  # fmt: skip


def canonical(value):
    """A recipe in one spelling: sorted keys, no defaults, 1.0 written as 1."""
    return json.dumps(normalised(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def normalised(value):
    if isinstance(value, dict):
        kept = {str(k): normalised(v) for k, v in value.items() if v is not None}
        return {k: v for k, v in kept.items() if k not in DEFAULTS or v != DEFAULTS[k]}
    if isinstance(value, list | tuple):
        return [normalised(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def parse(text):
    """A recipe from its canonical string, the defaults filled in where settings are read (see `setting`)."""
    return json.loads(text)


def setting(settings, key):
    """A setting's value, or its default where a recipe leaves it out."""
    return settings[key] if key in settings else DEFAULTS[key]


def digest(text):
    """The sha256 of a canonical recipe."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def recipe(product, study_name):
    """The canonical recipe string of a product in a study. Raises UserError if the study has no such product."""
    study = studies.load(study_name)
    kind, *rest = product.split("/")
    if kind not in BUILDERS or len(rest) != FORMS[kind].count("/"):
        raise UserError(f"'{product}' is no product; known: {', '.join(FORMS.values())}")
    content = builders(study)[kind](study, *rest)
    content["inputs"] = {name: digest(recipe(name, study_name)) for name in content.get("inputs", [])}
    return canonical({"version": RECIPE_VERSION[content["kind"]], "seed": study["seed"]} | content)


def inputs(product, study_name):
    """The products that a product is made from."""
    return list(parse(recipe(product, study_name))["inputs"])


def file_of(product):
    """A product's file below results/<study>."""
    return f"{product}.json" if product.startswith("measurements/") else f"{product}.safetensors"


def image_settings(study, stage=None):
    """What training and testing need to know of images; a stage such as `finetune` may flip as it likes."""
    settings = {key: study[key] for key in ("image_size", "crop", "flip")}
    return settings | {"flip": study.get(stage, {}).get("flip", study["flip"])}


def without(settings, *keys):
    return {key: value for key, value in settings.items() if key not in keys}


def images(study, data):
    settings = data_settings(study, data)
    # published files bring their own list of classes
    needed = [f"images/{settings['classes_of']}"] if "classes_of" in settings and "classes" not in settings else []
    return {"kind": "images", "data": data, "settings": settings, "image_size": study["image_size"], "inputs": needed}


def data_settings(study, data):
    if data not in study["data"]:
        raise UserError(f"study {study['name']}: no data set '{data}'")
    return study["data"][data]


def encoders(study, name):
    """The recipe of a training; its parents are the teacher or the weights that it starts from."""
    if name == "teacher":
        return {"images": image_settings(study)} | trained(study, "teacher", "clip", "captions", "student")
    if name in ("resnet", "resnet100"):
        return {"images": image_settings(study)} | trained(
            study, name, "supervised", "imagenet" if name == "resnet" else "imagenet100", "baseline"
        )
    match = quantities.ENCODER.fullmatch(name)
    if not match:
        raise UserError(f"unknown encoder '{name}'")
    common = {
        "distortion": names.specification(match["distortion"], study),
        "seed": int(match["seed"] or study["seed"]),
    }
    if match["family"] == "student":
        return common | student(study, match["loss"] or "st")
    settings = study["finetune"] | (study.get("clean_baseline", {}) if match["distortion"] == "clean" else {})
    return common | baseline(study, "resnet" if match["family"] == "baseline" else "resnet100", settings)


def trained(study, name, kind, data, network):
    """The teacher or the weights that baselines start from: trained by the study, or read from a published file."""
    if study[name].get("weights", "trained") != "trained":
        return {
            "kind": "weights",
            "network": study["networks"][network],
            "settings": study[name],
        }
    return {
        "kind": kind, "network": study["networks"][network], "settings": study[name], "train": f"images/{data}",
        "inputs": [f"images/{data}"],
    }  # fmt: skip


def student(study, loss):
    return {
        "kind": "distill", "network": study["networks"]["student"],
        "settings": without(study["distill"], "flip") | {"loss": study["losses"][loss]},
        "images": image_settings(study, "distill"),
        "train": "images/imagenet100", "teacher": "encoders/teacher",
        "inputs": ["images/imagenet100", "encoders/teacher"],
    }  # fmt: skip


def baseline(study, initial, settings):
    return {
        "kind": "supervised", "network": study["networks"]["baseline"], "settings": without(settings, "flip"),
        "images": image_settings(study, "finetune"),
        "train": "images/imagenet100", "initial": f"encoders/{initial}",
        "inputs": ["images/imagenet100", f"encoders/{initial}"],
    }  # fmt: skip


@functools.cache
def study_quantities(study_name):
    """Every quantity that a study measures, those of its further training seeds among them."""
    study = studies.load(study_name)
    return [each for quantity in quantities.of_study(study) for each in quantities.trainings(quantity, study)]


def classes_of(study, data):
    """The data set whose classes and heads a data set is tested with: itself, unless it names another."""
    return study["data"][data].get("classes_of", data)


def heads(study, encoder, data):
    """All probes that the study asks of an encoder on a data set, fitted in one job over one frozen pass."""
    wanted = {
        probe
        for quantity in study_quantities(study["name"])
        if (probe := quantities.probe_of(quantity))
        and (probe.encoder, classes_of(study, quantity.data)) == (encoder, data)
    }
    wanted |= gallery_probes(study, encoder, data)
    other = study.get("probe_distortions", {})  # where a probe is trained under something else than its encoder
    probes = [
        {
            "key": p.key, "fraction": float(p.fraction),
            "distortion": names.specification(other.get(p.distortion, p.distortion), study),
        }
        for p in sorted(wanted, key=lambda p: p.key)
    ]  # fmt: skip
    return {
        "kind": "heads", "encoder": f"encoders/{encoder}", "train": f"images/{data}", "probes": probes,
        "settings": probe_settings(study, data), "images": image_settings(study, "probe"),
        "inputs": [f"encoders/{encoder}", f"images/{data}"],
    }  # fmt: skip


def probe_settings(study, data):
    """How the probes of a data set are fitted: `transfer` replaces `full` away from ImageNet-100."""
    settings = without(study["probe"], "flip", "transfer")
    if data != "imagenet100" and "transfer" in study["probe"]:
        settings["full"] = study["probe"]["transfer"]
    return settings


def restored(study, data, name):
    """Test images of a data set, distorted and then restored in pixel space."""
    method = quantities.restoration(name)
    settings = without(study["restore"]["nlm" if method == "nlm" else "deep_decoder"], "constants")
    return {
        "kind": "restore", "method": method, "settings": settings, "test": f"images/{data}",
        "split": study["evaluate"]["split"], "images": image_settings(study),
        "distortion": names.specification(quantities.restored_from(name), study),
        "inputs": [f"images/{data}"],
    }  # fmt: skip


def measurements(study, encoder, data):
    """Every level, head and metric that the study asks of an encoder on a data set."""
    if not study["measured"]:
        return transcribed(study, encoder, data)
    wanted = [q for q in study_quantities(study["name"]) if (q.encoder, q.data) == (encoder, data)]
    if not wanted:
        raise UserError(f"study {study['name']}: nothing is measured of '{encoder}' on '{data}'")
    levels = [level_of(study, data, name, wanted) for name in sorted({q.distortion for q in wanted})]
    donors = {head["encoder"] for level in levels for head in level["heads"] if "encoder" in head}
    needed = [f"encoders/{encoder}", f"images/{data}"]
    needed += [f"heads/{donor}/{classes_of(study, data)}" for donor in sorted(donors)]
    needed += [level["restored"] for level in levels if "restored" in level]
    return {
        "kind": "measure", "encoder": f"encoders/{encoder}", "test": f"images/{data}", "levels": levels,
        "settings": {key: study["evaluate"][key] for key in ("instantiations", "batch")},
        "images": image_settings(study),
        "classes_of": classes_of(study, data), "split": split_of(study, data), "inputs": needed,
    }  # fmt: skip


def transcribed(study, encoder, data):
    """What was published of an encoder on a data set, in place of a measurement."""
    from contrastive_inversion.ledger import printed

    wanted = sorted(study_quantities(study["name"]), key=str)
    return {
        "kind": "transcribe",
        "encoder": encoder,
        "data": data,
        "rows": printed.rows(encoder, data, wanted, study),
    }


def split_of(study, data):
    """The split that is measured on: the study's, where the data set has it; transfer sets have a test split alone."""
    wanted = study["evaluate"]["split"]
    return wanted if wanted in study["data"][data] else "test"


def level_of(study, data, name, wanted):
    """One distortion of a measurement: where its images come from, its heads and their metrics."""
    here = [q for q in wanted if q.distortion == name]
    result = {"name": name, "heads": [head_of(q) for _, q in sorted({q.head: q for q in here}.items())]}
    result["metrics"] = sorted({q.metric for q in here})
    if quantities.restoration(name):
        constants = study["restore"]["nlm"].get("constants") if quantities.restoration(name) == "nlm" else None
        other = {key: study["networks"][constants][key] for key in ("mean", "std")} if constants else None
        return result | {"restored": f"restored/{data}/{name}", "constants": other}
    if study["data"][data]["source"].endswith("imagenet-c"):
        return result | {"severities": [1, 2, 3, 4, 5]}
    return result | {"distortion": names.specification(name, study)}


def head_of(quantity):
    """A quantity's head as text and, for a probe, the encoder whose file holds it and its key there."""
    probe = quantities.probe_of(quantity)
    return {"head": quantity.head} | ({"encoder": probe.encoder, "key": probe.key} if probe else {})


def gallery_probes(study, encoder, data):
    """The probes that Figure 1 shows predictions of."""
    layout = quantities.figure_layouts()[1]
    match = quantities.ENCODER.fullmatch(encoder)
    shown = 1 in study["figures"] and match and match["family"] == "student" and not match["loss"]
    if not shown or data != "imagenet100" or match["distortion"] not in layout["distortions"]:
        return set()
    return {quantities.Probe(encoder, "100", match["distortion"])}


def galleries(study, name):
    """The images of Figures 1 and 11, with predictions for Figure 1."""
    layouts = quantities.figure_layouts(quantities.ledger_of(study))
    known = {f"figure_{number}": number for number, found in layouts.items() if "gallery" in found}
    if name not in known:
        raise UserError(f"there is no gallery '{name}'; known: {', '.join(known)}")
    layout = quantities.figure_layouts()[known[name]]
    needed = ["images/imagenet100"]
    if layout["gallery"] == "predictions":
        for shown in layout["distortions"]:
            needed += [f"encoders/student-{shown}", f"heads/student-{shown}/imagenet100", f"encoders/baseline-{shown}"]
    return {
        "kind": "gallery", "gallery": layout["gallery"], "images": image_settings(study), "settings": study["gallery"],
        "split": study["evaluate"]["split"], "inputs": needed,
        "levels": [{"name": d, "distortion": names.specification(d, study)} for d in layout["distortions"]],
    }  # fmt: skip


BUILDERS = {
    "images": images, "encoders": encoders, "heads": heads, "restored": restored, "measurements": measurements,
    "galleries": galleries,
}  # fmt: skip


def builders(study):
    """What makes the recipes of a study: the paper's, or the second report's where its encoders are attacked."""
    if "attacks" not in study:
        return BUILDERS
    from contrastive_inversion.papers.contrastive_robustness import recipes

    return BUILDERS | recipes.BUILDERS


# How a kind's products are named.
FORMS = {
    "images": "images/DATA", "encoders": "encoders/ENCODER", "heads": "heads/ENCODER/DATA",
    "restored": "restored/DATA/DISTORTION", "measurements": "measurements/ENCODER/DATA",
    "galleries": "galleries/figure_N",
}  # fmt: skip


def measurement_of(quantity):
    """The measurement file that holds a quantity."""
    return f"measurements/{quantity.encoder}/{quantity.data}"


def measurements_for(wanted, study):
    """The measurement products behind some quantities, with all training seeds, each once, in order."""
    found = [measurement_of(each) for quantity in wanted for each in quantities.trainings(quantity, study)]
    return list(dict.fromkeys(found))


def study_measurements(study_name):
    """Every measurement product of a study."""
    return list(dict.fromkeys(map(measurement_of, study_quantities(study_name))))
