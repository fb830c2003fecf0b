"""What a configuration says of scripts: whether they are fit to run, and what the scheduler of one node must know."""

import os
from collections.abc import Mapping

from loguru import logger

from zraft.config import Config
from zraft.errors import ConfigError
from zraft.hooks.check import check_hooks
from zraft.hooks.decide import HookSettings
from zraft.raft.types import NodeId


def check_scripts(config: Config) -> None:
    """Log what is doubtful about the scripts; raise `ConfigError` when one of them can't be run."""
    mistakes, warnings = check_hooks(config)
    for warning in warnings:
        logger.warning("{}", warning)
    if mistakes:
        raise ConfigError(*mistakes)


def hook_settings(config: Config, node_id: NodeId, endpoints: Mapping[NodeId, str]) -> HookSettings:
    """Return what the scheduler of `node_id` must know; `endpoints` says where clients reach each node, and may change."""
    scripts = {"leader": config.hooks.leader, "follower": config.hooks.follower}
    return HookSettings(
        node=node_id,
        cluster=config.cluster.name,
        scripts={event: (path,) for event, path in scripts.items() if path is not None},
        grace_ms=config.hooks.grace_ms,
        timeout_ms=config.hooks.timeout_ms,
        base_env=dict(os.environ),
        config_path=config.path,
        endpoints=endpoints,
        cwd=os.path.dirname(config.path) or "/",
    )
