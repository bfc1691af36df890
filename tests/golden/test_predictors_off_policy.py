"""
The predictors of DQN, QRDQN, SAC, TQC, CrossQ, TD3, DDPG and ARS answer as SB3's `predict` does.
"""

import pytest

from tests.golden.predictors import check_predictor
from tests.golden.recipes import COMPILED, ESSENTIAL
from tests.golden.test_predictors_on_policy import ON_POLICY
from tests.thorough import chosen


@pytest.mark.parametrize("name", chosen((one.name for one in ESSENTIAL if one.algorithm not in ON_POLICY), *COMPILED))
def test_the_predictor_answers_as_sb3_does(name, tmp_path):
    check_predictor(name, tmp_path)
