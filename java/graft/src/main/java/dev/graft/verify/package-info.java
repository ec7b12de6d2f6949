/** Whether a device computes what the CPU computes: whole training steps beside each other. */
package dev.graft.verify;
