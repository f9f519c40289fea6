"""Borders of the faces of a drawing, along its half-edges.

Half-edge k runs along bond k, half-edge n_bonds + k back.
"""

from __future__ import annotations

import numpy as np

from hs_deepatoms._core.compiled.loops import kernel


@kernel
def direction(dy, dx):
    """A number that grows with the angle from -x over -y, +x and +y, as that does, but is no work."""
    share = dy / (abs(dy) + abs(dx))
    if dx >= 0:
        return share
    return 2 - share if dy > 0 else -2 - share


@kernel
def following(n_atoms, first, second, dy, dx):
    """The half-edge (2 n_bonds,) after each one along the border of the face on its side."""
    n = len(first)
    ends = np.zeros(n_atoms + 1, np.int64)
    for k in range(n):
        ends[first[k] + 1] += 1
        ends[second[k] + 1] += 1
    ends = np.cumsum(ends)
    count = np.zeros(n_atoms, np.int64)
    around, way = np.empty(2 * n, np.int64), np.empty(2 * n)
    for half in range(2 * n):
        k = half if half < n else half - n
        atom = first[k] if half < n else second[k]
        mine = direction(dy[k], dx[k]) if half < n else direction(-dy[k], -dx[k])
        place = ends[atom] + count[atom]
        count[atom] += 1
        while place > ends[atom] and way[place - 1] > mine:
            around[place], way[place] = around[place - 1], way[place - 1]
            place -= 1
        around[place], way[place] = half, mine
    after = np.empty(2 * n, np.int64)
    for atom in range(n_atoms):
        before = ends[atom + 1] - 1
        for place in range(ends[atom], ends[atom + 1]):
            half = around[place]  # who comes along it, the other way, goes on to the one before it
            after[half + n if half < n else half - n] = around[before]
            before = place
    return after


@kernel
def cycles(after):
    """Of a permutation: number of the cycle (n,) that each element is on, and an element and the length of each."""
    face = np.full(len(after), -1, np.int64)
    start, length = np.empty(len(after), np.int64), np.zeros(len(after), np.int64)
    count = 0
    for one in range(len(after)):
        if face[one] >= 0:
            continue
        start[count] = here = one
        while face[here] < 0:
            face[here] = count
            length[count] += 1
            here = after[here]
        count += 1
    return face, start[:count], length[:count]


@kernel
def loops(start, length, after, origin, n_atoms, smallest, largest):
    """Half-edges of borders, one after the other, and the size of each; those that visit an atom twice are cut there.

    Longer and shorter ones are left out.
    """
    found, size = np.empty(len(after), np.int64), np.empty(len(after), np.int64)
    stack, place = np.empty(len(after), np.int64), np.full(n_atoms, -1)
    count = total = 0
    for border in range(len(start)):
        depth, here = 0, start[border]
        for step in range(length[border] + 1):
            low = place[origin[here]] if step < length[border] else 0
            if low >= 0:  # closed here, since it left the same atom
                wanted = smallest <= depth - low <= largest
                for k in range(low, depth):
                    place[origin[stack[k]]] = -1
                    if wanted:
                        found[total] = stack[k]
                        total += 1
                if wanted:
                    size[count] = depth - low
                    count += 1
                depth = low
            if step < length[border]:
                place[origin[here]], stack[depth] = depth, here
                depth += 1
                here = after[here]
    return found[:total], size[:count]


@kernel
def measured(y, x, half, size, origin, dy, dx):
    """Centres y, x and areas (n_loops,) of loops; 0 for what goes around a periodic cell and does not close, and for
    what is flat but for rounding."""
    n, bonds, begin = len(size), len(dy), 0
    centre_y, centre_x, area = np.empty(n), np.empty(n), np.empty(n)
    for k in range(n):
        along_y = along_x = sum_y = sum_x = twice = longest = 0.0
        for place in range(begin, begin + size[k]):
            edge, sign = half[place], 1.0
            if edge >= bonds:
                edge, sign = edge - bonds, -1.0
            step_y, step_x = sign * dy[edge], sign * dx[edge]
            sum_y += along_y
            sum_x += along_x
            twice += along_x * step_y - along_y * step_x
            longest = max(longest, step_y * step_y + step_x * step_x)
            along_y += step_y
            along_x += step_x
        near = origin[half[begin]]
        begin += size[k]
        centre_y[k], centre_x[k] = y[near] + sum_y / size[k], x[near] + sum_x / size[k]
        closed = along_y * along_y + along_x * along_x < 1e-12 * longest
        area[k] = twice / 2 if closed and abs(twice) > 1e-9 * longest else 0.0
    return centre_y, centre_x, area
