/**
 * The command line: picocli commands over the layers below, without logic of their own. {@link
 * dev.graft.cli.Main} lists them; {@link dev.graft.cli.Failures} decides what a failure says and
 * which exit code it has.
 */
package dev.graft.cli;
