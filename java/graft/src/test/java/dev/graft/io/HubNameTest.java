package dev.graft.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class HubNameTest {
  @Test
  void nameAndRevision() {
    assertThat(HubName.parse("bert-base-uncased"))
        .isEqualTo(new HubName("bert-base-uncased", "main"));
    assertThat(HubName.parse("openai-community/gpt2@refs/pr/4"))
        .isEqualTo(new HubName("openai-community/gpt2", "refs/pr/4"));
    assertThat(HubName.parse("a/b@v1.0")).hasToString("a/b@v1.0");
    assertThat(HubName.parse("a/b@main")).hasToString("a/b");
    assertThat(HubName.parse("gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e").isCommit()).isTrue();
    assertThat(HubName.parse("gpt2@607a30d").isCommit()).isFalse();
  }

  @Test
  void snapshotsOfACache() {
    String commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e";
    assertThat(HubName.ofSnapshot(Path.of("/c/models--org--a-b/snapshots/" + commit)))
        .isEqualTo(new HubName("org/a-b", commit));
    assertThat(HubName.ofSnapshot(Path.of("c/models--gpt2/snapshots/" + commit)))
        .isEqualTo(new HubName("gpt2", commit));
    for (String other :
        new String[] {
          "/c/gpt2",
          "/c/models--gpt2/snapshots/main",
          "/c/models--a--b--c/snapshots/" + commit,
          "/c/models--gpt2/snapshots/" + commit + "/x",
          "/c/models--com1/snapshots/" + commit
        }) {
      assertThat(HubName.ofSnapshot(Path.of(other))).as(other).isNull();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt2",
        "a",
        "_a_",
        "Org.Name/model_1.5-x",
        "sentence-transformers/all-MiniLM-L6-v2"
      })
  void wellFormed(String name) {
    assertThat(HubName.problem(name)).isNull();
  }

  static String[] hostile() {
    return new String[] {
      "",
      "@main",
      "..",
      ".",
      "../a",
      "a/..",
      "a/../b",
      "../../etc/passwd",
      "/a",
      "/etc/passwd",
      "a/",
      "a//b",
      "//host/share",
      "a\\b",
      "..\\a",
      "\\\\host\\share",
      "C:\\a",
      "C:/a",
      "c:a",
      "con",
      "CON",
      "nul/a",
      "a/nul",
      "com1",
      "a/COM9",
      "lpt0",
      "aux.txt",
      "a/prn.model",
      "a\nb",
      "a\u0000b",
      "a\u001B[2Jb",
      "a\u2028b",
      "a/b/c",
      "-a",
      "a-",
      ".a",
      "a.",
      "a--b",
      "a..b",
      "a.git",
      "a b",
      "a ",
      " a",
      "a?b",
      "a%2e%2e",
      "a#b",
      "a:b",
      "http://host/a",
      "\u00E4",
      "\u6587",
      "x".repeat(97),
      "a/" + "x".repeat(97),
      "x".repeat(10_000),
      "a@",
      "a@..",
      "a@../b",
      "a@/b",
      "a@b/../../c",
      "a@b\\c",
      "a@con",
      "a@x/nul",
      "a@-x",
      "a@.x",
      "a@x.lock",
      "a@x y",
      "a@x\ny",
      "a@x:y",
      "a@x?y",
      "a@a..b",
      "a@" + "x".repeat(300),
      "~",
      "~/a",
      "$HOME",
      "a;b",
      "a|b"
    };
  }

  @ParameterizedTest
  @MethodSource("hostile")
  void refusedInOneLine(String name) {
    assertThat(HubName.problem(name)).isNotNull();
    assertThatThrownBy(() -> HubName.parse(name))
        .isInstanceOf(InvalidInputException.class)
        .hasMessageContaining("is no model's name on a hub: ")
        .message()
        .hasLineCount(1);
    boolean exists;
    try {
      exists = Files.exists(Path.of(name));
    } catch (InvalidPathException e) {
      exists = false;
    }
    if (!exists) {
      assertThatThrownBy(() -> ModelDirectory.resolve(name))
          .isInstanceOf(InvalidInputException.class)
          .hasMessageMatching("(?s).*(no such directory|not a path).*")
          .message()
          .hasLineCount(1);
    }
  }

  @Test
  void filesOfAListing() {
    for (String name : new String[] {"a", "a/b.c", "con", "a b", "1_Pooling/config.json"}) {
      assertThat(SafePath.forgery(name)).as(name).isNull();
    }
    for (String name :
        new String[] {"", "..", "a/..", "/a", "a\\b", "C:/a", "c:", "a//b", "a/", "a\tb", "a\0"}) {
      assertThat(SafePath.forgery(name)).as(name).isNotNull();
      assertThat(SafePath.problem(name)).as(name).isNotNull();
    }
    for (String name :
        new String[] {
          "con", "a/NUL.txt", "COM\u00B9", "conin$", "a.", "a ", "a<b", "a\"b", "a:b"
        }) {
      assertThat(SafePath.problem(name)).as(name).isNotNull();
    }
    assertThat(SafePath.problem("console.json")).isNull();
    assertThat(SafePath.problem("com10/x")).isNull();
  }
}
