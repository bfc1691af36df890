"""
Builds with passes switched off, to find out which one a fault comes from.
"""

import json

import pytest
from click.testing import CliRunner
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

import compiler
from compiler.cli import cli
from compiler.errors import BuildError
from compiler.ir import Discrete
from compiler.options import BuildOptions
from compiler.passes import NEEDED, PIPELINE, wanted
from compiler.pipeline import run_passes, stage_names
from compiler.verify import verify
from tests import policies, stand_in
from tests.drawn_networks import SEEDS, SOME, network
from tests.models import predictor
from tests.passes.test_every_pass import all_moderate, check_outputs
from tests.strategies import inputs_of

NAMES = [transform.__name__ for transform in PIPELINE]
OPTIONAL = [name for name in NAMES if name not in NEEDED]
MODELS = {
    "parts": lambda: policies.observing(policies.PARTS),
    "masked": policies.masked,
    "normalised": policies.normalised,
    "one_hot": lambda: policies.observing(Discrete(5), policies.NARROW),
}


@given(seed=SEEDS, which=SOME, left_out=st.sets(st.sampled_from(OPTIONAL)))
@settings(max_examples=60, deadline=None)
def test_the_others_keep_what_is_computed(seed, which, left_out):
    """
    But for the one that rounds constants.
    """
    model = network(seed, which)
    note(f"network({seed}, {which}), without {sorted(left_out)}")
    inputs = inputs_of(model)
    assume(all_moderate(model, inputs))
    left_out = {*left_out, "apply_winograd"}
    check_outputs(model, run_passes(model, BuildOptions(without=tuple(sorted(left_out)))), inputs)


@pytest.mark.parametrize("name", MODELS)
def test_predictors_need_only_what_is_needed(name, tmp_path):
    model = MODELS[name]()
    options = BuildOptions(without=tuple(OPTIONAL), verify_observations=10, lanes=4)
    after = run_passes(model, options)
    with predictor(tmp_path / "agent", model, options, plain=True) as agent:
        verify(model, after, agent, options)


def test_names_are_those_of_passes():
    assert [transform.__name__ for transform in wanted(BuildOptions())] == NAMES
    assert set(NEEDED) < set(NAMES)
    with pytest.raises(BuildError, match=r"without: 'fuse' is no pass; there are keep_action, "):
        wanted(BuildOptions(without=("fuse",)))
    with pytest.raises(BuildError, match=r"without: 'pack_dense' is needed for every build; there are keep_action, "):
        wanted(BuildOptions(without=("pack_dense",)))


def test_a_package_says_what_was_left_out(tmp_path, monkeypatch):
    stand_in.install(monkeypatch)
    choices = ("fuse_activations", "drop_unused")
    build = compiler.build(stand_in.policy(), out=tmp_path, without=choices, verify_observations=5)
    assert [layer.op for layer in build.report.layers][:3] == ["dense", "tanh", "dense"]
    manifest = json.loads((build.path / "manifest.json").read_text())
    assert manifest["options"]["without"] == list(choices)
    assert CliRunner().invoke(cli, ["verify", str(build.path)]).exit_code == 0


def test_the_command_takes_names(tmp_path, monkeypatch):
    stand_in.install(monkeypatch)
    source = tmp_path / "agent.bin"
    build = compiler.build(stand_in.policy(), out=tmp_path, verify_observations=5)
    source.write_bytes((build.path / "model.bin").read_bytes())
    result = CliRunner().invoke(cli, ["inspect", str(source), "--json", "--without", "fuse_sums,fold_scales"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["passes"] == [
        name for name in stage_names() if name not in ("fuse_sums", "fold_scales")
    ]
    result = CliRunner().invoke(cli, ["inspect", str(source), "--without", "magic"])
    assert result.exit_code == 3
    assert "without: 'magic' is no pass; there are keep_action," in result.output
