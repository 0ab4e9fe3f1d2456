"""Pages for people: why a model said what it said, and what the model is."""

from cds_service.viewer.routes import viewer_blueprint

__all__ = ["viewer_blueprint"]
