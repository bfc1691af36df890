"""
Small policies as the bytes of their files, made without torch and without Stable-Baselines3.

`torch_zip` and `torch_stream` are the two containers of torch.save; `sb3_zip` is what model.save() writes, for a PPO
policy with a Box(3) observation, two hidden layers of four units and two discrete actions unless told otherwise.
"""

import base64
import json
import struct

import numpy as np

from tests.hostile.assemble import Call, Global, Reference, assemble
from tests.hostile.zips import Entry, zip_bytes

STORAGE = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage", "u1": "ByteStorage"}
ORDERED_DICT = Global("collections", "OrderedDict")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def reference(key: str, count: int, code: str = "f4") -> Reference:
    return Reference(("storage", Global("torch", STORAGE[code]), key, "cpu", count))


def tensor(key: str, count: int, shape: tuple, stride: tuple | None = None, offset: int = 0, code: str = "f4") -> Call:
    """
    A tensor in the storage `key`, which has `count` elements; sizes, strides and offset in elements.
    """
    if stride is None:
        stride = tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
    return Call(REBUILD, (reference(key, count, code), offset, tuple(shape), stride, False, Call(ORDERED_DICT)))


def state_dict(tensors: dict, metadata: object = None) -> Call:
    """
    An OrderedDict as `Module.state_dict()` returns it, from decoded tensors or other values.
    """
    paths = {name.rpartition(".")[0]: {"version": 1} for name in tensors}
    state = {"_metadata": Call(ORDERED_DICT, items=tuple(paths.items())) if metadata is None else metadata}
    return Call(ORDERED_DICT, items=tuple(tensors.items()), state=state)


def torch_zip(pickle: bytes, storages: dict[str, bytes] | None = None, **members: bytes) -> bytes:
    """
    A torch zip around a pickle; `members` replace or add members by their names under `archive/`.
    """
    content = {"data.pkl": pickle, "byteorder": b"little"}
    content |= {f"data/{key}": raw for key, raw in (storages or {}).items()}
    content |= {"version": b"3\n", **members}
    return zip_bytes([Entry(f"archive/{name}", raw) for name, raw in content.items()])


def torch_stream(value: object, storages: dict[str, tuple[int, bytes]], keys: list | None = None) -> bytes:
    """
    The stream of torch before 1.6; each storage has the number of elements that the stream declares, and its bytes.
    """
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [0x1950A86A20F9469CFC6C, 1001, facts, value, list(storages) if keys is None else keys]
    content = b"".join(assemble(part) for part in parts)
    return content + b"".join(struct.pack("<q", count) + raw for count, raw in storages.values())


def weights(tensors: dict[str, np.ndarray]) -> bytes:
    """
    A `policy.pth` with these tensors, each in a storage of its own.
    """
    entries, storages = {}, {}
    for index, (name, array) in enumerate(tensors.items()):
        code = array.dtype.str[1:]
        entries[name] = tensor(str(index), array.size, array.shape, code=code)
        storages[str(index)] = array.tobytes()
    return torch_zip(assemble(state_dict(entries)), storages)


def ppo_tensors(observations: int = 3, units: int = 4, actions: int = 2) -> dict[str, np.ndarray]:
    """
    The state dict of an SB3 2.x PPO policy with two hidden layers; the weights are deterministic.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for net in ("policy_net", "value_net"):
        shapes[f"mlp_extractor.{net}.0.weight"] = (units, observations)
        shapes[f"mlp_extractor.{net}.0.bias"] = (units,)
        shapes[f"mlp_extractor.{net}.2.weight"] = (units, units)
        shapes[f"mlp_extractor.{net}.2.bias"] = (units,)
    shapes |= {"action_net.weight": (actions, units), "action_net.bias": (actions,)}
    shapes |= {"value_net.weight": (1, units), "value_net.bias": (1,)}
    random = np.random.default_rng(7)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def dtype(code: str) -> Call:
    order = "|" if code[1:] == "1" else "<"
    state = (3, order, None, None, None, -1, -1, 0)
    return Call(Global("numpy", "dtype", True), (code, False, True), state)


def array(values: np.ndarray) -> Call:
    function = Global("numpy._core.numeric", "_frombuffer", True)
    return Call(function, (values.tobytes(), dtype(values.dtype.str[1:]), values.shape, "C"))


def box(low: np.ndarray, high: np.ndarray) -> Call:
    """
    A gymnasium Box as SB3 2.x pickles it.
    """
    state = {
        "dtype": dtype(low.dtype.str[1:]),
        "_shape": low.shape,
        "low": array(low),
        "high": array(high),
        "bounded_below": array(np.isfinite(low)),
        "bounded_above": array(np.isfinite(high)),
        "low_repr": "-1.0",
        "high_repr": "1.0",
        "_np_random": None,
    }
    return Call(Global("gymnasium.spaces.box", "Box", True), (), state, new=True)


def discrete(count: int) -> Call:
    scalar = Global("numpy._core.multiarray", "scalar", True)
    number = Call(scalar, (dtype("i8"), struct.pack("<q", count)))
    start = Call(scalar, (dtype("i8"), struct.pack("<q", 0)))
    state = {"n": number, "start": start, "_shape": (), "dtype": dtype("i8"), "_np_random": None}
    return Call(Global("gymnasium.spaces.discrete", "Discrete", True), (), state, new=True)


def running(mean: object, variance: object) -> Call:
    """
    Statistics as SB3 pickles them.
    """
    kind = Global("stable_baselines3.common.running_mean_std", "RunningMeanStd", True)
    return Call(kind, (), {"mean": mean, "var": variance, "count": 64.0001}, new=True)


def vecnormalize(**changes: object) -> Call:
    """
    A VecNormalize for Box(3) observations as SB3 2.x pickles it; `changes` replace or add attributes.
    """
    ones = np.ones(3, np.float32)
    state = {
        "num_envs": 1,
        "observation_space": box(-ones, ones),
        "action_space": discrete(2),
        "norm_obs": True,
        "norm_obs_keys": None,
        "obs_rms": running(array(np.array([0.5, -2.0, 3.0])), array(np.array([1.0, 0.25, 9.0]))),
        "clip_obs": 10.0,
        "epsilon": 1e-8,
        "training": True,
        "old_obs": array(ones[None]),
        **changes,
    }
    kind = Global("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize", True)
    return Call(kind, (), state, new=True)


def dictionary(parts: dict[str, Call]) -> Call:
    """
    A gymnasium Dict as SB3 2.x pickles it.
    """
    state = {"spaces": parts, "_shape": None, "dtype": None, "_np_random": None}
    return Call(Global("gymnasium.spaces.dict", "Dict", True), (), state, new=True)


def serialized(value: object, kind: str) -> dict[str, str]:
    return {":type:": f"<class '{kind}'>", ":serialized:": base64.b64encode(assemble(value, 4)).decode()}


def ppo_data(**changes: object) -> dict[str, object]:
    """
    The `data` of an SB3 zip; values are JSON, or pickled values in the form of `serialized`.
    """
    ones = np.ones(3, np.float32)
    policy = Global("stable_baselines3.common.policies", "ActorCriticPolicy", True)
    return {
        "policy_class": serialized(policy, "abc.ABCMeta"),
        "verbose": 0,
        "policy_kwargs": {"net_arch": [4, 4]},
        "num_timesteps": 64,
        "use_sde": False,
        "_last_original_obs": None,
        "observation_space": serialized(box(-ones, ones), "gymnasium.spaces.box.Box"),
        "action_space": serialized(discrete(2), "gymnasium.spaces.discrete.Discrete"),
        "n_envs": 1,
        **changes,
    }


def sb3_entries(
    tensors: dict[str, np.ndarray] | None = None, policy: bytes | None = None, **data: object
) -> list[Entry]:
    """
    The members of an SB3 zip.
    """
    if policy is None:
        policy = weights(ppo_tensors() if tensors is None else tensors)
    return [
        Entry("data", json.dumps(ppo_data(**data), indent=4).encode()),
        Entry("pytorch_variables.pth", torch_zip(assemble(None))),
        Entry("policy.pth", policy),
        Entry("policy.optimizer.pth", torch_zip(assemble({"state": {}, "param_groups": []}))),
        Entry("_stable_baselines3_version", b"2.9.2"),
        Entry("system_info.txt", b"- Python: 3.11\n"),
    ]


def sb3_zip(tensors: dict[str, np.ndarray] | None = None, policy: bytes | None = None, **data: object) -> bytes:
    """
    An SB3 zip; `data` replaces fields of `ppo_data`.
    """
    return zip_bytes(sb3_entries(tensors, policy, **data))
