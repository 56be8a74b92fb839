"""What a captioner says is seen in napari, before it is drawn."""

from __future__ import annotations

from napari.utils.notifications import notification_manager

from napari_superres.models.captions import reviewed
from napari_superres.plugin.notify import tell_captions


def test_captions_are_shown_as_messages() -> None:
    """A cat that a captioner sees in a micrograph would be drawn, and nobody would know why."""
    tell_captions()
    tell_captions()  # for each plan
    before = len(notification_manager.records)
    assert reviewed(3, "A photograph of a cat.") == "A photograph of a cat."
    assert reviewed(3, "A photograph of a cat.") == "A photograph of a cat."  # another sample
    (record,) = list(notification_manager.records)[before:]
    assert "Plane 3 is described as: A photograph of a cat." in record.message
    assert "captions" in record.message
