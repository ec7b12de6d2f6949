package dev.graft.verify;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.util.Map;
import java.util.Optional;

/**
 * How fast one piece of work is, beside peers and the limit.
 *
 * @param seconds median of doing it once
 * @param spread the distance of the quartiles as a share of the median
 * @param bytes to be moved at least; 0 if arithmetic bounds it
 * @param flops to be done; 0 if memory bounds it
 * @param limitSeconds what the limit measured in the same run allows
 * @param tokens of doing it once, 0 if it is no whole model
 * @param peers median seconds of each peer that ran
 * @param refused why a peer did not
 */
public record SpeedResult(
    String name,
    String dtype,
    String shape,
    double seconds,
    double spread,
    double bytes,
    double flops,
    double limitSeconds,
    int tokens,
    Map<String, Double> peers,
    Map<String, String> refused) {

  /** The share of the limit that is reached. */
  public double ofLimit() {
    return limitSeconds / seconds;
  }

  /** The fastest peer. */
  public Optional<Map.Entry<String, Double>> fastestPeer() {
    return peers.entrySet().stream().min(Map.Entry.comparingByValue());
  }

  /** How many times as fast as the fastest peer; NaN without one. */
  public double ratio() {
    return fastestPeer().map(peer -> peer.getValue() / seconds).orElse(Double.NaN);
  }

  public ObjectNode json() {
    ObjectNode json =
        Json.object()
            .put("name", name)
            .put("dtype", dtype)
            .put("shape", shape)
            .put("microseconds", 1e6 * seconds)
            .put("spread", spread)
            .put("bytes", bytes)
            .put("flops", flops)
            .put("limit_microseconds", 1e6 * limitSeconds)
            .put("of_limit", ofLimit());
    if (tokens > 0) {
      json.put("tokens_per_second", tokens / seconds);
    }
    ObjectNode others = json.putObject("peers_microseconds");
    peers.forEach((peer, time) -> others.put(peer, 1e6 * time));
    if (!refused.isEmpty()) {
      ObjectNode reasons = json.putObject("peers_refused");
      refused.forEach(reasons::put);
    }
    if (!peers.isEmpty()) {
      json.put("ratio_to_fastest_peer", ratio());
    }
    return json;
  }
}
