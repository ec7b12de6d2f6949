package dev.graft.train;

import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.AccessMode;
import java.nio.file.CopyOption;
import java.nio.file.DirectoryStream;
import java.nio.file.FileStore;
import java.nio.file.FileSystem;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.nio.file.StandardOpenOption;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.FileAttributeView;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.nio.file.spi.FileSystemProvider;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;

/**
 * A file system over the default one that fails on request, in the manner of Lucene's directory
 * wrappers: a disk with so many bytes left, a crash after so many operations. It knows which files
 * and directory entries were made durable, and {@link #crash} takes from the disk what was not:
 * files are cut, zeroed or garbled, renames undone. The code under test uses {@code java.nio.file}
 * alone and needs no seam for it.
 */
final class FaultyFileSystem extends FileSystem {
  private final FileSystem base;
  private final Provider provider = new Provider();
  private final Set<Path> unsyncedFiles = new TreeSet<>();
  private final List<Rename> unsyncedRenames = new ArrayList<>();
  private long bytesLeft = Long.MAX_VALUE;
  private long operationsLeft = Long.MAX_VALUE;
  private long operations;
  private long bytesWritten;

  private record Rename(Path from, Path to) {}

  FaultyFileSystem(FileSystem base) {
    this.base = base;
  }

  Path wrap(Path path) {
    return new FaultyPath(path);
  }

  /** The disk takes so many bytes more, then it is full. */
  void bytesLeft(long bytes) {
    bytesLeft = bytes;
  }

  /** The machine stops after so many operations (writes, syncs, renames, deletions, creations). */
  void operationsLeft(long operationCount) {
    operationsLeft = operationCount;
  }

  long operations() {
    return operations;
  }

  long bytesWritten() {
    return bytesWritten;
  }

  private void operation(Path path) throws IOException {
    operations++;
    if (operationsLeft <= 0) {
      throw new FileSystemException(path.toString(), null, "the machine stopped (planted)");
    }
    operationsLeft--;
  }

  /** Takes from the disk what was never made durable, and takes work again. */
  void crash(Random random) throws IOException {
    // Latest first: a rename without a sync of its folder may not have happened.
    for (int i = unsyncedRenames.size() - 1; i >= 0; i--) {
      Rename rename = unsyncedRenames.get(i);
      if (random.nextBoolean() && Files.exists(rename.to) && !Files.exists(rename.from)) {
        Files.move(rename.to, rename.from);
        renamed(rename.to, rename.from);
      }
    }
    for (Path file : unsyncedFiles) {
      if (Files.isRegularFile(file)) {
        damage(file, random);
      }
    }
    unsyncedFiles.clear();
    unsyncedRenames.clear();
    operationsLeft = Long.MAX_VALUE;
    bytesLeft = Long.MAX_VALUE;
  }

  private static void damage(Path file, Random random) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    switch (random.nextInt(3)) {
      case 0 -> Files.write(file, java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length + 1)));
      case 1 -> Files.write(file, new byte[bytes.length]);
      default -> {
        random.nextBytes(bytes);
        Files.write(file, bytes);
      }
    }
  }

  /** Keeps the books right when a file or folder of unsynced files moves. */
  private void renamed(Path from, Path to) {
    Set<Path> moved = new TreeSet<>();
    for (Path file : unsyncedFiles) {
      moved.add(file.startsWith(from) ? to.resolve(from.relativize(file)) : file);
    }
    unsyncedFiles.clear();
    unsyncedFiles.addAll(moved);
  }

  private static Path raw(Path path) {
    return path instanceof FaultyPath faulty ? faulty.path : path;
  }

  /** A path of the default file system, dressed. */
  private final class FaultyPath implements Path {
    private final Path path;

    FaultyPath(Path path) {
      this.path = path;
    }

    private Path dress(Path p) {
      return p == null ? null : new FaultyPath(p);
    }

    @Override
    public FileSystem getFileSystem() {
      return FaultyFileSystem.this;
    }

    @Override
    public boolean isAbsolute() {
      return path.isAbsolute();
    }

    @Override
    public Path getRoot() {
      return dress(path.getRoot());
    }

    @Override
    public Path getFileName() {
      return dress(path.getFileName());
    }

    @Override
    public Path getParent() {
      return dress(path.getParent());
    }

    @Override
    public int getNameCount() {
      return path.getNameCount();
    }

    @Override
    public Path getName(int index) {
      return dress(path.getName(index));
    }

    @Override
    public Path subpath(int begin, int end) {
      return dress(path.subpath(begin, end));
    }

    @Override
    public boolean startsWith(Path other) {
      return path.startsWith(raw(other));
    }

    @Override
    public boolean endsWith(Path other) {
      return path.endsWith(raw(other));
    }

    @Override
    public Path normalize() {
      return dress(path.normalize());
    }

    @Override
    public Path resolve(Path other) {
      return dress(path.resolve(raw(other)));
    }

    @Override
    public Path relativize(Path other) {
      return dress(path.relativize(raw(other)));
    }

    @Override
    public URI toUri() {
      return path.toUri();
    }

    @Override
    public Path toAbsolutePath() {
      return dress(path.toAbsolutePath());
    }

    @Override
    public Path toRealPath(LinkOption... options) throws IOException {
      return dress(path.toRealPath(options));
    }

    @Override
    public WatchKey register(
        WatchService watcher, WatchEvent.Kind<?>[] events, WatchEvent.Modifier... modifiers) {
      throw new UnsupportedOperationException();
    }

    @Override
    public int compareTo(Path other) {
      return path.compareTo(raw(other));
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof FaultyPath faulty && path.equals(faulty.path);
    }

    @Override
    public int hashCode() {
      return path.hashCode();
    }

    @Override
    public String toString() {
      return path.toString();
    }
  }

  private final class Channel extends FileChannel {
    private final FileChannel channel;
    private final Path path;

    Channel(FileChannel channel, Path path) {
      this.channel = channel;
      this.path = path;
    }

    @Override
    public int write(ByteBuffer from) throws IOException {
      operation(path);
      int wanted = from.remaining();
      if (wanted > bytesLeft) {
        // A full disk takes what still fits.
        int limit = from.limit();
        from.limit(from.position() + (int) bytesLeft);
        bytesWritten += channel.write(from);
        from.limit(limit);
        bytesLeft = 0;
        throw new FileSystemException(path.toString(), null, "No space left on device (planted)");
      }
      unsyncedFiles.add(path);
      int written = channel.write(from);
      bytesLeft -= written;
      bytesWritten += written;
      return written;
    }

    @Override
    public void force(boolean metaData) throws IOException {
      operation(path);
      channel.force(metaData);
      if (Files.isDirectory(path)) {
        unsyncedRenames.removeIf(
            r -> path.equals(r.from.getParent()) && path.equals(r.to.getParent()));
      } else {
        unsyncedFiles.remove(path);
      }
    }

    @Override
    public FileChannel truncate(long size) throws IOException {
      operation(path);
      channel.truncate(size);
      return this;
    }

    @Override
    public int read(ByteBuffer to) throws IOException {
      return channel.read(to);
    }

    @Override
    public long read(ByteBuffer[] to, int offset, int length) throws IOException {
      return channel.read(to, offset, length);
    }

    @Override
    public int read(ByteBuffer to, long position) throws IOException {
      return channel.read(to, position);
    }

    @Override
    public long write(ByteBuffer[] from, int offset, int length) throws IOException {
      long written = 0;
      for (int i = offset; i < offset + length; i++) {
        written += write(from[i]);
      }
      return written;
    }

    @Override
    public int write(ByteBuffer from, long position) {
      throw new UnsupportedOperationException("not used by the code under test");
    }

    @Override
    public long position() throws IOException {
      return channel.position();
    }

    @Override
    public FileChannel position(long to) throws IOException {
      channel.position(to);
      return this;
    }

    @Override
    public long size() throws IOException {
      return channel.size();
    }

    @Override
    public long transferTo(long position, long count, WritableByteChannel to) throws IOException {
      return channel.transferTo(position, count, to);
    }

    @Override
    public long transferFrom(ReadableByteChannel from, long position, long count) {
      throw new UnsupportedOperationException("not used by the code under test");
    }

    @Override
    public MappedByteBuffer map(MapMode mode, long position, long size) throws IOException {
      return channel.map(mode, position, size);
    }

    @Override
    public FileLock lock(long position, long size, boolean shared) throws IOException {
      return channel.lock(position, size, shared);
    }

    @Override
    public FileLock tryLock(long position, long size, boolean shared) throws IOException {
      return channel.tryLock(position, size, shared);
    }

    @Override
    protected void implCloseChannel() throws IOException {
      channel.close();
    }
  }

  private final class Provider extends FileSystemProvider {
    private FileSystemProvider under() {
      return base.provider();
    }

    @Override
    public String getScheme() {
      return "faulty";
    }

    @Override
    public FileSystem newFileSystem(URI uri, Map<String, ?> env) {
      throw new UnsupportedOperationException();
    }

    @Override
    public FileSystem getFileSystem(URI uri) {
      return FaultyFileSystem.this;
    }

    @Override
    public Path getPath(URI uri) {
      return new FaultyPath(Path.of(uri));
    }

    @Override
    public FileChannel newFileChannel(
        Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
        throws IOException {
      Path file = raw(path).toAbsolutePath();
      if (options.contains(StandardOpenOption.CREATE)
          || options.contains(StandardOpenOption.CREATE_NEW)
          || options.contains(StandardOpenOption.TRUNCATE_EXISTING)) {
        operation(file);
      }
      return new Channel(FileChannel.open(file, options, attributes), file);
    }

    @Override
    public SeekableByteChannel newByteChannel(
        Path path, Set<? extends OpenOption> options, FileAttribute<?>... attributes)
        throws IOException {
      return newFileChannel(path, options, attributes);
    }

    @Override
    public DirectoryStream<Path> newDirectoryStream(
        Path directory, DirectoryStream.Filter<? super Path> filter) throws IOException {
      DirectoryStream<Path> stream = Files.newDirectoryStream(raw(directory));
      return new DirectoryStream<>() {
        @Override
        public Iterator<Path> iterator() {
          List<Path> dressed = new ArrayList<>();
          stream.forEach(p -> dressed.add(new FaultyPath(p)));
          return dressed.iterator();
        }

        @Override
        public void close() throws IOException {
          stream.close();
        }
      };
    }

    @Override
    public void createDirectory(Path path, FileAttribute<?>... attributes) throws IOException {
      operation(raw(path));
      under().createDirectory(raw(path), attributes);
    }

    @Override
    public void delete(Path path) throws IOException {
      operation(raw(path));
      under().delete(raw(path));
      unsyncedFiles.remove(raw(path).toAbsolutePath());
    }

    @Override
    public void copy(Path from, Path to, CopyOption... options) {
      throw new UnsupportedOperationException("not used by the code under test");
    }

    @Override
    public void move(Path from, Path to, CopyOption... options) throws IOException {
      Path source = raw(from).toAbsolutePath();
      Path target = raw(to).toAbsolutePath();
      operation(source);
      under().move(source, target, options);
      unsyncedFiles.remove(target);
      renamed(source, target);
      unsyncedRenames.add(new Rename(source, target));
    }

    @Override
    public boolean isSameFile(Path a, Path b) throws IOException {
      return under().isSameFile(raw(a), raw(b));
    }

    @Override
    public boolean isHidden(Path path) throws IOException {
      return under().isHidden(raw(path));
    }

    @Override
    public FileStore getFileStore(Path path) throws IOException {
      return under().getFileStore(raw(path));
    }

    @Override
    public void checkAccess(Path path, AccessMode... modes) throws IOException {
      under().checkAccess(raw(path), modes);
    }

    @Override
    public <V extends FileAttributeView> V getFileAttributeView(
        Path path, Class<V> type, LinkOption... options) {
      return under().getFileAttributeView(raw(path), type, options);
    }

    @Override
    public <A extends BasicFileAttributes> A readAttributes(
        Path path, Class<A> type, LinkOption... options) throws IOException {
      return under().readAttributes(raw(path), type, options);
    }

    @Override
    public Map<String, Object> readAttributes(Path path, String attributes, LinkOption... options)
        throws IOException {
      return under().readAttributes(raw(path), attributes, options);
    }

    @Override
    public void setAttribute(Path path, String name, Object value, LinkOption... options)
        throws IOException {
      under().setAttribute(raw(path), name, value, options);
    }
  }

  @Override
  public FileSystemProvider provider() {
    return provider;
  }

  @Override
  public void close() {}

  @Override
  public boolean isOpen() {
    return true;
  }

  @Override
  public boolean isReadOnly() {
    return false;
  }

  @Override
  public String getSeparator() {
    return base.getSeparator();
  }

  @Override
  public Iterable<Path> getRootDirectories() {
    return base.getRootDirectories();
  }

  @Override
  public Iterable<FileStore> getFileStores() {
    return base.getFileStores();
  }

  @Override
  public Set<String> supportedFileAttributeViews() {
    return base.supportedFileAttributeViews();
  }

  @Override
  public Path getPath(String first, String... more) {
    return new FaultyPath(base.getPath(first, more));
  }

  @Override
  public PathMatcher getPathMatcher(String pattern) {
    return base.getPathMatcher(pattern);
  }

  @Override
  public UserPrincipalLookupService getUserPrincipalLookupService() {
    return base.getUserPrincipalLookupService();
  }

  @Override
  public WatchService newWatchService() throws IOException {
    return base.newWatchService();
  }
}
