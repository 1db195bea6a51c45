"""What is left of a take whose capture was cut off or whose file was damaged, in words."""

from .take import Take

_MOST_GAPS = 3


def describe_recovery(take: Take, name: str) -> list[str]:
    """Sentences on what was recovered from the file ``name`` and what was lost; none where it is whole."""
    recovery = take.recovery
    if recovery.complete and not recovery.undecodable:
        return []
    return [_state(take, name), _kept(take), *_lost(take)]


def _state(take: Take, name: str) -> str:
    if take.recovery.complete:
        return f"{name} is damaged."
    if take.recovery.damaged:
        return f"{name} is damaged, or was not closed properly; everything in it that is whole is used."
    return f"{name} was not closed: its capture ended before it could be. Everything whole in it is used."


def _kept(take: Take) -> str:
    chunks = f"{take.recovery.chunks} whole {'chunk' if take.recovery.chunks == 1 else 'chunks'}"
    if not take.proxies:
        return f"Recovered: no frame, in {chunks}."
    first, last = take.proxies[0].stamp_s, take.proxies[-1].stamp_s
    motion = f"and the motion of {len(take.motion):,}" if take.motion else "no motion yet"
    return f"Recovered: {_frames(len(take.proxies))} from {first:.2f} s to {last:.2f} s, {motion}, in {chunks}."


def _lost(take: Take) -> list[str]:
    recovery, said = take.recovery, []
    if recovery.damaged:
        said.append(f"{recovery.damaged} damaged {'place' if recovery.damaged == 1 else 'places'} passed over")
    if gaps := _gaps(take):
        more = f" and {len(gaps) - _MOST_GAPS} more gaps" if len(gaps) > _MOST_GAPS else ""
        said.append(f"missing inside: {', '.join(_span(*gap) for gap in gaps[:_MOST_GAPS])}{more}")
    if recovery.undecodable:
        said.append(f"{recovery.undecodable} unreadable {'message' if recovery.undecodable == 1 else 'messages'}")
    if recovery.lost_bytes:
        said.append(f"{recovery.lost_bytes:,} bytes at the end that are no whole chunk")
    if not recovery.complete:
        reached = take.proxies[-1].index + 1 if take.proxies else 0
        promised = take.header.frame_count or 0
        if take.header.live:
            said.append("at most the last second before the capture ended")
        elif reached < promised:
            said.append(f"the last {_frames(promised - reached)} of the footage: not captured, or in the last second")
    return [f"Lost: {'; '.join(said)}."] if said else ["Lost: nothing."]


def _gaps(take: Take) -> list[tuple[int, int]]:
    """First and last number of the frames that are missing in between; a live source drops some by itself."""
    if take.header.live or not take.recovery.damaged:
        return []
    numbers = [p.index for p in take.proxies]
    before = numbers[0] - 1 if numbers else 0
    return [(a + 1, b - 1) for a, b in zip([before, *numbers], numbers, strict=False) if b > a + 1]


def _span(first: int, last: int) -> str:
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"
