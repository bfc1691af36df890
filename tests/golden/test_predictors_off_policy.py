"""
The predictors of DQN, QRDQN, SAC, TQC, CrossQ, TD3, DDPG and ARS answer as SB3's `predict` does.
"""

import pytest

from tests.golden.predictors import check_predictor
from tests.golden.recipes import ESSENTIAL
from tests.golden.test_predictors_on_policy import ON_POLICY


@pytest.mark.parametrize("name", [recipe.name for recipe in ESSENTIAL if recipe.algorithm not in ON_POLICY])
def test_the_predictor_answers_as_sb3_does(name, tmp_path):
    check_predictor(name, tmp_path)
