"""Tasks on the workers of a Ray cluster. Only the driver commits entries."""

from encash.extras import require

require("ray", "--executor ray")

from encash.cache.executors.ray.executor import RayExecutor as RayExecutor  # noqa: E402 - imports ray
from encash.cache.executors.ray.workers import RayWorkers as RayWorkers  # noqa: E402  only after this check
