"""What must hold of a study that was read before anything is said of it."""

from __future__ import annotations

import pytest

from cds_service.flow import SeriesNotWhole, check_whole
from inference.analysis import SeriesUse
from models.contract import SeriesFacts


def used(instances: int | None, *, used: bool = True) -> SeriesUse:
    return SeriesUse("1.2.3", 1, "MR", used=used, instances=instances, reasons=())


def test_a_series_of_which_fewer_images_came_than_are_counted_is_refused() -> None:
    with pytest.raises(SeriesNotWhole) as caught:
        check_whole([SeriesFacts("1.2.3", instances=120)], [used(51)])
    assert (caught.value.kind, caught.value.retryable) == ("incomplete", True)


@pytest.mark.parametrize("counted", [None, 50, 51])
def test_what_is_not_counted_or_grew_is_no_shortfall(counted: int | None) -> None:
    check_whole([SeriesFacts("1.2.3", instances=counted)], [used(51)])


def test_a_series_that_was_not_read_may_have_any_count() -> None:
    check_whole([SeriesFacts("1.2.3", instances=120)], [used(51, used=False)])
