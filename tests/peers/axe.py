"""axe-core: what it finds fault with in a page, as a test-only peer from npm."""

from __future__ import annotations

from pathlib import Path

AXE = Path(__file__).parents[2] / ".venv-peers" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async () => (await axe.run()).violations.flatMap(
  (v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`))"""
