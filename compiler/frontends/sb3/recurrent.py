"""
RecurrentPPO: `sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy`.

features -> LSTM, one step -> policy_net -> action_net -> the mode of the action's distribution. The value is translated
where the critic needs no recurrent state of its own: it shares the actor's LSTM, or has a linear layer in its place.
"""

import re

import numpy as np

from compiler.errors import quote
from compiler.frontends.sb3 import heads, sequential
from compiler.frontends.sb3.actor_critic import (
    ARGUMENTS,
    EXTRACTORS,
    POLICY,
    add_value,
    critic_features,
    has_value,
    prefix_of,
)
from compiler.frontends.sb3.description import ALL_ACTIONS, GAUSSIAN_ARGUMENTS, Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.network import STATE_INITIAL, Network, Signal
from compiler.ir import BATCH, EPISODE_STARTS, DType, State

ACTOR, CRITIC = "lstm_actor", "lstm_critic"
ENTRY = "lstm_actor.weight_ih_l0"
"""The matrix that meets the features."""
LINEAR_CRITIC = "critic"
WEIGHT = re.compile(r"(?P<kind>weight|bias)_(?P<side>ih|hh)_l(?P<layer>0|[1-9]\d{0,2})", re.ASCII)
GATES = 4

LSTM_ARGUMENTS = frozenset({"bias", "dropout", "device", "dtype"})
"""Of nn.LSTM, in `lstm_kwargs`, that the tensors have or that count in training only."""
REFUSED_LSTM_ARGUMENTS = ("proj_size", "bidirectional", "batch_first")


def translate(network: Network, description: Description) -> None:
    """
    Adds actor, states, action and value.
    """
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    features = extract(network, parts, prefix_of(network, EXTRACTORS), description.extractor)
    starts = network.declare(EPISODE_STARTS, DType.FLOAT32, ())
    recurrent = _lstm(network, features, starts)
    latent = sequential.hidden(network, recurrent, POLICY, description.activation)
    heads.act(network, latent, features, description)
    if not has_value(network) or network.has(CRITIC):
        return
    if network.has(LINEAR_CRITIC):
        seen = critic_features(network, parts, features, description)
        add_value(network, network.linear(seen, LINEAR_CRITIC, recurrent.width), description)
    else:
        add_value(network, recurrent, description)


def _lstm(network: Network, features: Signal, starts: str) -> Signal:
    """
    One step of an nn.LSTM of one or more layers, whose states are reset where an episode starts.
    """
    signal = features
    for layer in range(_layers(network)):
        recurrent = network.tensors.get(f"{ACTOR}.weight_hh_l{layer}")
        if recurrent is None or recurrent.ndim != 2 or recurrent.shape[0] != GATES * recurrent.shape[1]:
            found = "none" if recurrent is None else f"shape {recurrent.shape}"
            network.findings.damaged(
                f"tensor {quote(f'{ACTOR}.weight_hh_l{layer}')} must have four rows for each column, found {found}"
            )
            signal = Signal("", None)
            continue
        signal = _cell(network, signal, starts, layer, recurrent.shape[1])
    return signal


def _cell(network: Network, signal: Signal, starts: str, layer: int, units: int) -> Signal:
    hidden, cell = (_state(network, f"{letter}.{layer}", units) for letter in "hc")
    hidden, cell = (
        network.apply(state, "reset", f"{ACTOR}.reset_{letter}_l{layer}", starts)
        for state, letter in ((hidden, "h"), (cell, "c"))
    )
    entering = _product(network, signal, "ih", layer, GATES * units)
    repeating = _product(network, hidden, "hh", layer, GATES * units)
    gates = network.combine([entering, repeating], "add", f"{ACTOR}.gates_l{layer}", width=GATES * units)
    after = network.combine([gates, cell], "lstm_cell", f"{ACTOR}.cell_l{layer}", width=units)
    shown = network.combine([gates, after], "lstm_hidden", f"{ACTOR}.hidden_l{layer}", width=units)
    for letter, state in (("h", shown), ("c", after)):
        name = f"{letter}.{layer}"
        network.states.append(State(name, name, state.tensor, f"{name}{STATE_INITIAL}"))
    return shown


def _product(network: Network, signal: Signal, side: str, layer: int, outputs: int) -> Signal:
    names = (f"{ACTOR}.weight_{side}_l{layer}", f"{ACTOR}.bias_{side}_l{layer}")
    weight = network.tensors.get(names[0])
    if weight is not None and weight.ndim == 2 and weight.shape[0] != outputs:
        network.findings.damaged(f"tensor {quote(names[0])} has {weight.shape[0]} rows; its LSTM needs {outputs}")
    return network.product(signal, f"{ACTOR}.{side}_l{layer}", *names)


def _state(network: Network, name: str, units: int) -> Signal:
    if not network.findings:
        network.builder.input(name, DType.FLOAT32, (BATCH, units))
        network.builder.constant(f"{name}{STATE_INITIAL}", np.zeros(units, np.float32))
    return Signal(name, units)


def _layers(network: Network) -> int:
    """
    How many layers the LSTM has; records tensors that a plain LSTM does not have.
    """
    layers = 0
    for key in network.tensors:
        if not key.startswith(f"{ACTOR}."):
            continue
        match = WEIGHT.fullmatch(key.removeprefix(f"{ACTOR}."))
        if match is None:
            text = "a parameter of an LSTM with projections or of two directions, which is not compiled"
            network.findings.unsupported(f"tensor {quote(key)}: {text}; retrain without proj_size and bidirectional")
        else:
            layers = max(layers, int(match["layer"]) + 1)
    if not layers:
        network.findings.damaged(f"layer {quote(ACTOR)} is missing: there is no {quote(f'{ACTOR}.weight_ih_l0')}")
    return layers


FAMILY = Family(
    algorithms=("RecurrentPPO",),
    activation="Tanh",
    action_spaces=ALL_ACTIONS,
    layers=(POLICY, heads.ACTION_NET),
    extractors=EXTRACTORS,
    arguments=frozenset(
        {
            *ARGUMENTS,
            *GAUSSIAN_ARGUMENTS,
            "squash_output",
            "lstm_hidden_size",
            "n_lstm_layers",
            "shared_lstm",
            "enable_critic_lstm",
            "lstm_kwargs",
        }
    ),
    translate=translate,
    log_std="log_std",
)
