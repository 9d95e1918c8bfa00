"""Tables in Arrow files, written and read batch by batch; no batch becomes much larger than its file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from struct import error as StructError
from struct import unpack_from
from typing import Any

from model_src.files import InputError, atomic_write, naming, regular_file

PER_BYTE, BESIDES = 200, 1 << 24  # bytes of a batch in memory per byte of it in the file, and besides
NO_ARROW = "PyArrow is not installed: pip install autogo[sharded]"
_AT_ONCE = 100  # rows
_MAGIC, _FIRST = b"ARROW1", 8  # what a file begins and ends with; where its first message is
_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3  # places in Arrow's tables `Message` and `RecordBatch`


def pyarrow() -> Any:
    """The library.

    Raises:
        InputError: It is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise InputError(f"shards: {NO_ARROW}") from error
    return pyarrow


def write_table(path: Path, kinds: Mapping[str, str], batches: Iterable[Sequence[Sequence[object]]]) -> None:
    """Write a table.

    Args:
        path: Of the file.
        kinds: Name of a column -> Arrow's name of its type.
        batches: The values, column by column.

    Raises:
        InputError: PyArrow is not installed.
        OSError: The file cannot be written.
    """
    arrow = pyarrow()
    schema = arrow.schema(list(kinds.items()))
    options = arrow.ipc.IpcWriteOptions(compression="zstd")
    with atomic_write(path) as file, arrow.ipc.new_file(file, schema, options=options) as writer:
        for columns in batches:
            writer.write_batch(arrow.record_batch([list(column) for column in columns], schema))


def iter_table(path: Path, kinds: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of a table; a batch of them is in memory at a time.

    Args:
        path: Of the file.
        kinds: Its columns, as for `write_table`.

    Raises:
        InputError: The file is missing, damaged, of other columns, or would become much larger in memory; or PyArrow is
            not installed.
    """
    arrow, path = pyarrow(), regular_file(path)
    with naming(path), arrow.memory_map(str(path)) as file:
        try:
            for batch in _batches(arrow, file, arrow.schema(list(kinds.items()))):
                for start in range(0, batch.num_rows, _AT_ONCE):
                    yield from batch.slice(start, _AT_ONCE).to_pylist()
        except (arrow.ArrowException, StructError, UnicodeDecodeError) as error:
            raise ValueError(f"damaged ({' '.join(str(error).split())})") from error


def _batches(arrow: Any, file: Any, wanted: Any) -> Iterator[Any]:
    """The batches of a file in their order, whatever its end says where they are."""
    if file.read_at(len(_MAGIC), 0) != _MAGIC or file.read_at(len(_MAGIC), file.size() - len(_MAGIC)) != _MAGIC:
        raise ValueError("not an Arrow file, or cut short")
    file.seek(_FIRST)
    messages = iter(arrow.ipc.MessageReader.open_stream(file))
    first = next(messages, None)
    if first is None or first.type != "schema":
        raise ValueError("it does not begin with its columns")
    schema = arrow.ipc.read_schema(first)
    if not schema.equals(wanted):
        raise ValueError(f"it has the columns {_named(schema)}, not {_named(wanted)}")
    for message in messages:
        _check_size(message)
        batch = arrow.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        yield batch


def _named(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _check_size(message: Any) -> None:
    """Refuse what is no batch, or a batch that unpacks to much more than it is.

    Raises:
        ValueError: It is.
    """
    if message.type != "record batch":
        raise ValueError(f"it has a {message.type} where a batch of rows belongs")
    body = memoryview(message.body)
    size = sum(_unpacked(bytes(message.metadata), body))
    if size > PER_BYTE * len(body) + BESIDES:
        raise ValueError(f"{len(body):,} bytes of it would become {size:,}")


def _unpacked(told: bytes, body: memoryview) -> Iterator[int]:
    """What the buffers of a batch become: a packed one begins with its size, or -1 where it lies there as it is."""
    root = unpack_from("<I", told)[0]
    batch = _pointed(told, _slot(told, root, _HEADER))
    if not _slot(told, batch, _COMPRESSION):
        return
    buffers = _pointed(told, _slot(told, batch, _BUFFERS))
    for number in range(unpack_from("<I", told, buffers)[0]):
        begin, length = unpack_from("<qq", told, buffers + 4 + 16 * number)
        if length:
            yield max(unpack_from("<q", body[begin:])[0], 0)


def _slot(told: bytes, table: int, field: int) -> int:
    """Where a table of flatbuffers has a field; 0 if it has none."""
    fields = table - unpack_from("<i", told, table)[0]
    at = 4 + 2 * field
    offset = unpack_from("<H", told, fields + at)[0] if at < unpack_from("<H", told, fields)[0] else 0
    return table + offset if offset else 0


def _pointed(told: bytes, slot: int) -> int:
    return int(slot + unpack_from("<I", told, slot)[0])
