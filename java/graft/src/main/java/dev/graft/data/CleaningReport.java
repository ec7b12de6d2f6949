package dev.graft.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.graft.io.Json;
import java.util.Locale;
import java.util.Map;

/**
 * What cleaning did.
 *
 * @param documents read
 * @param kept written
 * @param dropped left out, by reason
 * @param charactersRead UTF-16 units
 * @param charactersKept UTF-16 units
 * @param removed characters without a glyph that were removed
 * @param replaced broken sequences that became U+FFFD
 */
public record CleaningReport(
    long documents,
    long kept,
    Map<DroppedDocument.Reason, Long> dropped,
    long charactersRead,
    long charactersKept,
    long removed,
    long replaced) {
  /** By name, as the command prints it. */
  public ObjectNode toJson() {
    ObjectNode json = Json.object();
    json.put("documents", documents).put("kept", kept);
    ObjectNode reasons = json.putObject("dropped");
    for (DroppedDocument.Reason reason : DroppedDocument.Reason.values()) {
      reasons.put(reason.name().toLowerCase(Locale.ROOT), dropped.getOrDefault(reason, 0L));
    }
    return json.put("characters_read", charactersRead)
        .put("characters_kept", charactersKept)
        .put("characters_removed", removed)
        .put("sequences_replaced", replaced);
  }
}
