package dev.graft.dist;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.SizeTPointer;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.GlooDeviceVector;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;
import org.bytedeco.pytorch.gloo.Device;

/** The store where ranks find each other's addresses, and Gloo's connections between them. */
final class Gloo {
  /** By address, for the life of the process: taking one down with its group is not safe. */
  private static final Map<String, Device> DEVICES = new HashMap<>();

  private Gloo() {}

  private static synchronized Device device(String address) {
    return DEVICES.computeIfAbsent(
        address, name -> kept(ProcessGroupGloo.createDeviceForHostname(name)));
  }

  /** Rank 0 serves the store, all are its clients; returns when all are there. */
  static Store store(Rendezvous at) {
    try (PointerScope scope = new PointerScope()) {
      TCPStoreOptions options = new TCPStoreOptions();
      // The port is unsigned there.
      options.port((short) at.port()).isServer(at.rank() == 0);
      options.timeout(new Milliseconds(at.timeout().toMillis()));
      options.numWorkers(new SizeTPointer(1).put(at.size()));
      return kept(new TCPStore(at.host(), options));
    } catch (RuntimeException e) {
      throw failed(at, e);
    }
  }

  /** Connects every pair of ranks. */
  static Backend connect(Rendezvous at, Store store) {
    try (PointerScope scope = new PointerScope()) {
      ProcessGroupGloo.Options options =
          ProcessGroupGloo.Options.create(new Milliseconds(at.timeout().toMillis()));
      // Every operation is waited for before the next.
      options.threads(1);
      options.devices(new GlooDeviceVector(device(localAddress(at))));
      return kept(
          new ProcessGroupGloo(new PrefixStore("gloo", store), at.rank(), at.size(), options));
    } catch (RuntimeException e) {
      throw failed(at, e);
    }
  }

  /** Lets a pointer outlive the scope it was made in. */
  static <P extends Pointer> P kept(P pointer) {
    pointer.retainReference();
    return pointer;
  }

  /**
   * The address of this machine on the way to rank 0: what the system would send from. The name of
   * the machine, which Gloo looks up by itself, often is a loopback address or none.
   */
  private static String localAddress(Rendezvous at) {
    try (DatagramSocket unused = new DatagramSocket()) {
      InetAddress rank0 = InetAddress.getByName(at.host());
      unused.connect(new InetSocketAddress(rank0, at.port())); // sends nothing
      // Without the scope of a link-local IPv6 address.
      return unused.getLocalAddress().getHostAddress().replaceFirst("%.*", "");
    } catch (UnknownHostException e) {
      throw new UncheckedIOException("no such host: " + at.host(), e);
    } catch (IOException e) {
      throw new UncheckedIOException("no way to " + at.host() + ": " + e.getMessage(), e);
    }
  }

  static DistributedException failed(Rendezvous at, RuntimeException e) {
    return new DistributedException(
        at.rank(),
        at.size(),
        String.format(
            "could not meet the others at %s:%d within %,d ms: %s",
            at.host(), at.port(), at.timeout().toMillis(), firstLine(e)),
        e);
  }

  /** libtorch's message without its source file and C++ stack. */
  static String firstLine(RuntimeException e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    return message.lines().findFirst().orElse("").replaceFirst("^\\[/[^]]*]\\s*", "");
  }
}
