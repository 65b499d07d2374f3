"""Campaigns: the loop that samples, labels and refits, and survives being killed at any moment.

`run` starts a campaign or carries on with it; `Campaign` reads a folder, running or finished.
"""

from __future__ import annotations

from athanor.campaign.config import CampaignConfig
from athanor.campaign.folder import Campaign, CampaignStatus
from athanor.campaign.progress import Progress
from athanor.campaign.runner import run
from athanor.campaign.state import State

__all__ = ["Campaign", "CampaignConfig", "CampaignStatus", "Progress", "State", "run"]
