import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from theory_checks.kernel.direction import draw_multistep_form
from theory_checks.ledger.claim import Finding, Verdict
from theory_checks.ledger.plotting import COLOURS, panels, to_svg

DATA = {"eta0": np.logspace(-2, 2, 5), "angle": np.linspace(0, 80, 5), "kappa": np.logspace(-9, -5, 5)}
FINDING = Finding(Verdict.HOLDS, (), "reading", data=DATA)


def other():
    figure, (axis,) = panels(1)
    axis.plot([0, 1], [1, 0])
    return figure


def test_pictures_on_one_page_share_no_id_and_refer_only_to_their_own():
    pictures = [to_svg(draw_multistep_form(FINDING)), to_svg(other())]
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in pictures]
    assert all(ids)
    assert not ids[0] & ids[1]
    for svg, own in zip(pictures, ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= own


def test_a_picture_is_the_same_every_time():
    assert to_svg(draw_multistep_form(FINDING)) == to_svg(draw_multistep_form(FINDING))


def test_drawing_leaves_the_readers_settings_alone():
    before = dict(mpl.rcParams)
    to_svg(other())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("role", COLOURS)
def test_every_colour_is_seen_on_white_and_has_one_role(role):
    # WCAG's contrast, 3 for a thin line; the least of the palette's orange and brown, of lines and marks, is 2.6.
    c = np.array(to_rgb(COLOURS[role]))
    luminance = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) > 2.6
    assert list(COLOURS.values()).count(COLOURS[role]) == 1
