"""Files of the Hugging Face hub, from its cache where they are there."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)

from cion_core.errors import CionError

WEIGHTS = "model.safetensors"
PREFIX = "hf:"  # of a repository's name, where a model is named
SECONDS = 10.0  # that the hub may take to answer


def model_folder(repository: str) -> Path:
    """Fetch the model folder that a repository holds, as `cion export --hub` writes it.

    Args:
        repository: ORG/NAME.

    Returns:
        The folder, in the hub's cache.

    Raises:
        CionError: as of `fetch`.
    """
    advice = "name its folder instead"
    card = fetch(repository, advice, "card.json")
    fetch(repository, advice)
    return card.parent


def fetch(repository: str, advice: str, file: str = WEIGHTS) -> Path:
    """Fetch a file of a repository of the hub; what lies in its cache is not asked for again.

    Args:
        repository: ORG/NAME.
        advice: what else can be done, for the error.
        file: its name in the repository.

    Returns:
        The file, in the hub's cache.

    Raises:
        CionError: the hub cannot be reached within SECONDS, or has no such file.
    """
    known = try_to_load_from_cache(repository, file)
    if isinstance(known, str):
        return Path(known)
    address = hf_hub_url(repository, file)
    try:
        # asks once; a download without network is tried for minutes
        get_hf_file_metadata(address, timeout=SECONDS)
        return Path(hf_hub_download(repository, file, etag_timeout=SECONDS))
    except Exception as error:  # of whichever library the hub's client speaks HTTP through
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CionError(
            f"{address}: not to be had ({reason}); go on where there is a network, "
            f"or download it elsewhere and {advice}"
        ) from error
