"""Which shards of a store are as they were written."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tqdm.auto import tqdm

from hdm_widgets._store_files import StoreFiles
from hdm_widgets.latent.store.arrays import CHECKED
from hdm_widgets.latent.store.shards import RECORDS, ShardRecord, record_name

__all__ = ["note_checked", "read_records"]

# Seconds before a bar is shown.
_DELAY = 1.0
# Checksums are computed in so many threads.
_THREADS = 4


def read_records(files: StoreFiles, store: str, *, progress: bool = False) -> dict[int, ShardRecord]:
    """The records of all shards of a store that are not damaged, by number.

    Every file of a shard is read, and compared with its checksum, unless that was done before and the file system
    says that it has not been written since. Who finds a damaged file otherwise removes what says so: see `damaged`.
    """
    states = files.states()
    checked = (files.read_json(CHECKED) or {}).get("shards", {})
    numbers = sorted(
        int(name.removeprefix(f"{RECORDS}/").removesuffix(".json"))
        for name in states
        if name.startswith(f"{RECORDS}/") and name.removeprefix(f"{RECORDS}/").removesuffix(".json").isdecimal()
    )

    def check(number: int) -> ShardRecord | None:
        record = ShardRecord.from_fields(files.read_json(record_name(number)) or {})
        if record is None or record.store != store:
            return None
        state = _state(record, states)
        unchanged = state is not None and checked.get(str(number)) == state
        return record if unchanged or _is_whole(files, record) else None

    with ThreadPoolExecutor(_THREADS) as pool:
        shown = tqdm(
            zip(numbers, pool.map(check, numbers), strict=True),
            total=len(numbers), disable=not progress, delay=_DELAY, unit="shard", desc="checking the store",
        )  # fmt: skip
        records = {number: record for number, record in shown if record is not None}
    if records and {str(number): _state(record, states) for number, record in records.items()} != checked:
        _note(files, records, states)
    return records


def note_checked(files: StoreFiles, records: Mapping[int, ShardRecord]) -> None:
    """Note that these shards are as they were written: some were checked, and the others are new."""
    _note(files, records, files.states())


def _note(files: StoreFiles, records: Mapping[int, ShardRecord], states: Mapping[str, str]) -> None:
    files.write_json(CHECKED, {"shards": {str(number): _state(record, states) for number, record in records.items()}})


def _state(record: ShardRecord, states: Mapping[str, str]) -> int | None:
    """What changes when a file of a shard is written again; None where the file system does not tell."""
    found = {name: states.get(name, "") for name in sorted(record.files)}
    return zlib.crc32(repr(found).encode()) if all(found.values()) else None


def _is_whole(files: StoreFiles, record: ShardRecord) -> bool:
    """Whether all files of a shard are as they were written, by their sizes and checksums."""
    for name, (size, checksum) in record.files.items():
        data = files.read(name)
        if data is None or len(data) != size or zlib.crc32(data) != checksum:
            return False
    return True
