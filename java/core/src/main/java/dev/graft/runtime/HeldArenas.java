package dev.graft.runtime;

import java.util.Collections;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The open arenas of a device, and the most bytes they may hold together. The device's lock guards
 * it.
 */
final class HeldArenas {
  private final Set<Arena> arenas = Collections.newSetFromMap(new IdentityHashMap<>());
  private final long limit;

  /**
   * @param limit in bytes; {@link Long#MAX_VALUE} for none
   */
  HeldArenas(long limit) {
    this.limit = limit;
  }

  long limit() {
    return limit;
  }

  void add(Arena arena) {
    arenas.add(arena);
  }

  void remove(Arena arena) {
    arenas.remove(arena);
  }

  List<Arena> all() {
    return List.copyOf(arenas);
  }

  /** Bytes by the arenas' names, the largest first. */
  Map<String, Long> byName() {
    return arenas.stream()
        .filter(arena -> arena.bytes() > 0)
        .collect(Collectors.groupingBy(Arena::name, Collectors.summingLong(Arena::bytes)))
        .entrySet()
        .stream()
        .sorted(Map.Entry.<String, Long>comparingByValue(Comparator.reverseOrder()))
        .collect(
            Collectors.toMap(
                Map.Entry::getKey, Map.Entry::getValue, Long::sum, LinkedHashMap::new));
  }

  /** Bytes the limit leaves. */
  long room() {
    return limit == Long.MAX_VALUE
        ? limit
        : Math.max(0, limit - arenas.stream().mapToLong(Arena::bytes).sum());
  }
}
