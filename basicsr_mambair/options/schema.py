"""Option files as JSON Schema (draft 2020-12), for completion and checks in editors.

The schema comes from the types of the sections and the signatures of constructors, as the checks
do. A file may extend others, so nothing in it is required, every key may be null (``key: ~`` takes
it out), and a number or truth value may be written as ``${key}``. Whether a file is complete is
for ``basicsr validate`` to say.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from basicsr_mambair.options.calls import Parameter, parameters_of, plain_name, resolved
from basicsr_mambair.options.fields import Field, fields_of
from basicsr_mambair.options.sections import (
    IO_BACKENDS,
    NETWORK_PATHS,
    SCHEDULERS,
    DatasetOptions,
    DistributedOptions,
    LoggerOptions,
    MetricOptions,
    NetworkPathOptions,
    PathOptions,
    PublishedOptions,
)
from basicsr_mambair.options.stock import STOCK_DATASETS, STOCK_MODELS, ModelOptions
from basicsr_mambair.options.values import is_checkable, json_schema, or_reference
from mambair.signatures import parameter_names

Schema = dict[str, Any]

_OURS = ("basicsr.", "basicsr_mambair.", "mambair.")
_NULL: Schema = {"type": "null"}


def option_schema() -> Schema:
    """The schema of option files with everything that BasicSR and this project register."""
    import basicsr.archs
    import basicsr.data
    import basicsr.losses
    import basicsr.metrics
    import basicsr.models  # noqa: F401
    from basicsr.utils import registry

    models = known_models()
    networks = _constructors(registry.ARCH_REGISTRY)
    losses = _constructors(registry.LOSS_REGISTRY)
    metrics = _constructors(registry.METRIC_REGISTRY, given=("img", "img2"))
    top = _merged(model.top for model in models.values())
    train = _merged(model.train for model in models.values())
    val = _merged(model.val for model in models.values())
    references = {
        name: {"$ref": f"#/$defs/{name}"}
        for name in ("network", "loss", "optimizer", "scheduler", "dataset", "metric")
    }
    train.update(
        {key: _documented(references["loss"], train[key]) for key in train if key.endswith("_opt")}
        | {key: _documented(references["optimizer"], train[key])
           for key in train if key.startswith("optim_")}
        | {"scheduler": _documented(references["scheduler"], train["scheduler"])}
    )  # fmt: skip
    val["metrics"] = _documented(
        _nullable({"type": "object", "additionalProperties": references["metric"]}), val["metrics"]
    )
    logger = _properties(fields_of(LoggerOptions))
    sections = {
        "datasets": _nullable({
            "type": "object",
            "patternProperties": {"^(train|val|test)(_.*)?$": references["dataset"]},
            "additionalProperties": False,
        }),
        "path": _closed(_properties(fields_of(PathOptions)), _network_paths()),
        "train": _nullable({
            "type": "object",
            "properties": train,
            "patternProperties": {"_opt$": references["loss"], "^optim_": references["optimizer"]},
        }),
        "val": _nullable({"type": "object", "properties": val}),
        "logger": _closed(logger),
        "dist_params": _closed(_properties(fields_of(DistributedOptions))),
        "published": _closed(_properties(fields_of(PublishedOptions))),
    }  # fmt: skip
    top |= {name: _documented(schema, top[name]) for name, schema in sections.items()}
    top["model_type"] = _suggesting(models, top["model_type"])
    top["extends"] = {
        "description": "Option files to begin with, relative to this one.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, _NULL],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of BasicSR with basicsr-mambair",
        "type": "object",
        "properties": top,
        "patternProperties": {"^network_.": references["network"]},
        # Models of other packages read keys of their own.
        "if": {
            "properties": {"model_type": {"not": {"enum": sorted(models)}, "type": "string"}},
            "required": ["model_type"],
        },
        "else": {
            "propertyNames": _names(top, "^network_."),
            "properties": {
                "train": {"propertyNames": _names(train, "_opt$", "^optim_")},
                "val": {"propertyNames": _names(val)},
            },
        },
        "$defs": {
            "network": _by_type("Class of the network.", {}, networks),
            "loss": _by_type("Class of the loss.", {}, losses),
            "optimizer": _by_type("Class of torch.optim.", {"lr": _number()}, {}),
            "scheduler": _by_type("Schedule of the learning rate.", {}, _schedulers()),
            "dataset": _by_type("Class of the dataset.", _datasets_share(), _datasets()),
            "metric": _by_type(
                "Function that measures.", _properties(fields_of(MetricOptions)), metrics
            ),
        },
    }


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(option_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def known_models() -> dict[str, ModelOptions]:
    """The options that each model of BasicSR and of this project reads, by name."""
    import basicsr.models  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import MODEL_REGISTRY

    from basicsr_mambair.options.stock import options_of_model

    registered = _registered(MODEL_REGISTRY)
    models = {name: options_of_model(cls)[0] for name, cls in registered.items()
              if options_of_model(cls)[1]}  # fmt: skip
    return _with_stock(models, STOCK_MODELS, registered)


def known_datasets() -> dict[str, type]:
    """The types of the sections of BasicSR's datasets and this project's, by name."""
    import basicsr.data  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import DATASET_REGISTRY

    registered = _registered(DATASET_REGISTRY)
    own = {
        name: cls.OPTIONS
        for name, cls in registered.items()
        if isinstance(getattr(cls, "OPTIONS", None), type)
    }
    return _with_stock(own, STOCK_DATASETS, registered)


def _with_stock(
    own: Mapping[str, Any], stock: Mapping[str, Any], registered: Mapping[str, Any]
) -> dict[str, Any]:
    """Adds BasicSR's; where this project has the plain name, under the suffix that asks for it."""
    renamed = {
        f"{name}_basicsr" if _is_own(registered.get(name)) else name: declared
        for name, declared in stock.items()
    }
    return {**own, **renamed}


def _is_own(target: Any) -> bool:
    return target is not None and target.__module__.startswith("basicsr_mambair.")


def _registered(registry: Any) -> dict[str, Any]:
    """The entries of a registry from BasicSR and this project, by their names in option files."""
    entries = {name: target for name, target in registry if target.__module__.startswith(_OURS)}
    return {plain: entries[resolved(entries, plain) or plain]
            for plain in dict.fromkeys(map(plain_name, entries))}  # fmt: skip


def _constructors(registry: Any, given: tuple[str, ...] = ()) -> dict[str, Schema | None]:
    """For every name the arguments; ``None`` for what takes any."""
    return {
        name: _arguments(target, given)
        for name, target in sorted(_registered(registry).items())
    }  # fmt: skip


def _arguments(target: Callable[..., Any], given: tuple[str, ...]) -> Schema | None:
    if parameter_names(target) is None and not given:  # metrics ignore further arguments
        return None
    schemas = {
        name: _argument(parameter)
        for name, parameter in parameters_of(target).items()
        if name not in given
    }
    declared = getattr(target, "OPTIONS", None)
    if isinstance(declared, type):
        schemas |= _properties(fields_of(declared))
    return schemas


def _argument(parameter: Parameter) -> Schema:
    if not is_checkable(parameter.kind):
        return {}
    schema = _nullable(or_reference(json_schema(parameter.kind, parameter.range)))
    default = parameter.default
    if default is not inspect.Parameter.empty and default is not None:
        plain = list(default) if isinstance(default, tuple) else default
        if parameter.range.holds(default if isinstance(default, (int, float)) else 1):
            return {**schema, "default": plain}
        return {"anyOf": [{"const": plain}, *schema["anyOf"]], "default": plain}
    return schema


def _properties(fields: Mapping[str, Field]) -> dict[str, Schema]:
    return {name: _property(field) for name, field in fields.items()}


def _property(field: Field) -> Schema:
    if field.section is not None:
        schema = _closed(_properties(fields_of(field.section)))
    else:
        schema = _nullable(or_reference(json_schema(field.kind, field.range)))
    schema["description"] = field.doc
    if field.has_default and field.default is not None:
        schema["default"] = field.default
    return schema


def _merged(declarations: Iterable[type]) -> dict[str, Schema]:
    """The keys of several types; one that they declare differently takes what any of them takes."""
    found: dict[str, list[Schema]] = {}
    for declaration in dict.fromkeys(declarations):
        for name, schema in _properties(fields_of(declaration)).items():
            variants = found.setdefault(name, [])
            if schema not in variants:
                variants.append(schema)
    return {name: _any_of(variants) for name, variants in sorted(found.items())}


def _any_of(variants: list[Schema]) -> Schema:
    if len(variants) == 1:
        return variants[0]
    merged = {key: value for key, value in variants[0].items() if key in ("description", "default")}
    parts: list[Schema] = []
    for variant in variants:
        bare = {key: value for key, value in variant.items() if key not in merged}
        parts += [part for part in bare.get("anyOf", [bare]) if part not in parts]
    return {**merged, **({} if {} in parts else {"anyOf": parts})}


def _nullable(schema: Schema) -> Schema:
    if not schema:
        return {}
    parts = schema.get("anyOf", [schema])
    return {"anyOf": [*parts, *([] if _NULL in parts else [_NULL])]}


def _closed(properties: dict[str, Schema], patterns: dict[str, Schema] | None = None) -> Schema:
    section: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return _nullable({**section, **({"patternProperties": patterns} if patterns else {})})


def _documented(schema: Schema, described: Schema) -> Schema:
    return {**schema, "description": described["description"]}


def _names(known: Iterable[str], *patterns: str) -> Schema:
    return {"anyOf": [{"enum": sorted(known)}, *({"pattern": pattern} for pattern in patterns)]}


def _suggesting(names: Iterable[str], described: Schema) -> Schema:
    """Text that an editor completes with names, though packages may register others."""
    return {
        "description": described["description"],
        "anyOf": [{"enum": sorted(names)}, {"type": "string"}, _NULL],
    }


def _by_type(doc: str, shared: dict[str, Schema], kinds: Mapping[str, Schema | None]) -> Schema:
    """A section whose ``type`` says which keys it takes.

    Without ``type``, which a file may leave to one that it extends, any of their keys is taken;
    a ``type`` of another package takes keys that are not known here.
    """
    own_type = _suggesting(kinds, {"description": doc})
    branches: list[Schema] = []
    for name, keys in kinds.items():
        if keys is not None:
            taken = dict.fromkeys(("type", *shared), True) | keys | {"type": True}
            # A file may take out a key that goes with the type of a file that it extends.
            then: Schema = {"properties": taken, "additionalProperties": _NULL}
            branches.append({"if": _is_type([name]), "then": then})
    closed = kinds and None not in kinds.values()
    if closed:
        names = {"type", *shared, *(key for keys in kinds.values() for key in keys or ())}
        branches.append(
            {"if": {"required": ["type"]}, "else": {"propertyNames": {"enum": sorted(names)}}}
        )
    section: Schema = {"type": "object", "properties": {**shared, "type": own_type}}
    if branches:
        section["allOf"] = branches
    return _nullable(section)


def _is_type(names: list[str]) -> Schema:
    return {"properties": {"type": {"enum": names}}, "required": ["type"]}


def _number() -> Schema:
    return _nullable(or_reference(json_schema(float)))


def _schedulers() -> dict[str, Schema | None]:
    return {name: _properties(fields_of(kind)) for name, (_, kind) in SCHEDULERS.items()}


def _datasets_share() -> dict[str, Schema]:
    shared = _properties(fields_of(DatasetOptions))
    storage: Schema = {
        "type": "object",
        "properties": {"type": {"enum": [*IO_BACKENDS, None]}},
    }
    shared["io_backend"] = _documented(_nullable(storage), shared["io_backend"])
    return shared


def _datasets() -> dict[str, Schema | None]:
    shared = fields_of(DatasetOptions)
    datasets = known_datasets()
    # The project's own class of picture pairs can also be named as BasicSR's.
    paired = [datasets["PairedImageDataset"], datasets["MambaIRPairedDataset"]]
    sections = {name: _properties(fields_of(kind)) for name, kind in sorted(datasets.items())}
    sections["PairedImageDataset"] = _merged(paired)
    return {
        name: {key: schema for key, schema in keys.items() if key not in shared}
        for name, keys in sections.items()
    }


def _network_paths() -> dict[str, Schema]:
    fields = fields_of(NetworkPathOptions)
    return {f"^{re.escape(name)}_.": _property(fields[name]) for name in NETWORK_PATHS}
