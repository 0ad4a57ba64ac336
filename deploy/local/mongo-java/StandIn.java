import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.ValueComparator;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.backend.memory.MemoryCollection;
import de.bwaldvogel.mongo.backend.memory.MemoryDatabase;
import de.bwaldvogel.mongo.backend.memory.index.MemoryUniqueIndex;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A stand-in for MongoDB: mongo-java-server with the wire version that today's drivers ask for, and two things that it
 * lacks: unique indexes of several fields serve ranges and orders, and what is acknowledged outlives a kill -9, though not
 * the machine's.
 *
 * <p>Arguments: the port, and a folder for its journals. It takes connections once it has read what is there, says "ready
 * PORT" on standard output, and ends when its standard input does, so that it never outlives who started it.
 */
class StandIn {
    /** A 7.0 server, as far as drivers look. */
    static final MongoVersion VERSION = new MongoVersion() {
        public List<Integer> getVersionArray() {
            return List.of(7, 0, 0);
        }

        public int getWireVersion() {
            return 17;
        }
    };

    public static void main(String[] args) throws Exception {
        Path data = Path.of(args[1]);
        MemoryBackend backend = new MemoryBackend() {
            @Override
            public MemoryDatabase openOrCreateDatabase(String name) {
                return new KeptDatabase(data, name, getCursorRegistry());
            }
        };
        backend.version(VERSION);
        try (Stream<Path> databases = Files.list(data)) {
            databases.filter(Files::isDirectory).forEach(folder -> backend.resolveDatabase(folder.getFileName().toString()));
        }
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
        System.out.println("ready " + server.getLocalAddress().getPort());
        while (System.in.read() >= 0) {}
        System.exit(0);
    }
}

/** A database whose collections are journaled and whose unique indexes are ordered. */
class KeptDatabase extends MemoryDatabase {
    /** Hands the folder past the constructor of the superclass, which opens collections already. */
    private static final ThreadLocal<Path> OPENING = new ThreadLocal<>();

    private final Path folder;

    KeptDatabase(Path data, String name, CursorRegistry cursors) {
        super(opening(data.resolve(name), name), cursors);
        folder = data.resolve(name);
    }

    private static String opening(Path folder, String name) {
        OPENING.set(folder);
        return name;
    }

    @Override
    protected MemoryCollection openOrCreateCollection(String name, CollectionOptions options) {
        return new KeptCollection(this, name, options, cursorRegistry, (folder == null ? OPENING.get() : folder).resolve(name));
    }

    @Override
    protected Index<Integer> openOrCreateUniqueIndex(String collection, String name, List<IndexKey> keys, boolean sparse) {
        return new OrderedIndex(name, keys, sparse);
    }
}

/** A collection in memory that writes each change of a document to its journal before anybody is answered. */
class KeptCollection extends MemoryCollection {
    private static final Document ALL = new Document();

    private final Journal journal;

    KeptCollection(MongoDatabase database, String name, CollectionOptions options, CursorRegistry cursors, Path file) {
        super(database, name, options, cursors);
        journal = new Journal(file);
        journal.replay(this::redo);
    }

    /** Positions are given out by what was added and removed before, so each comes out as it was. */
    private void redo(byte kind, int position, Document document) {
        switch (kind) {
            case Journal.ADDED:
                super.addDocumentInternal(document);
                break;
            case Journal.REMOVED:
                super.removeDocument(position);
                break;
            default:
                getDocument(position).clear();
                getDocument(position).putAll(document);
        }
    }

    @Override
    protected Integer addDocumentInternal(Document document) {
        Integer position = super.addDocumentInternal(document);
        journal.write(Journal.ADDED, position, document);
        return position;
    }

    @Override
    protected void handleUpdate(Integer position, Document before, Document after) {
        journal.write(Journal.CHANGED, position, after);
    }

    @Override
    protected void removeDocument(Integer position) {
        super.removeDocument(position);
        journal.write(Journal.REMOVED, position, new Document());
    }

    @Override
    public void drop() {
        super.drop();
        journal.delete();
    }

    @Override
    protected QueryResult queryDocuments(Document query, Document order, int skip, int limit, int batch, Document fields) {
        Way way = wayTo(query, order);
        if (way == null) {
            return super.queryDocuments(query, order, skip, limit, batch, fields);
        }
        Stream<Document> found = way.positions.distinct().map(this::getDocument);
        return matchDocumentsFromStream(found, way.exact ? ALL : query, way.ordered ? null : order, skip, limit, batch, fields);
    }

    /** Returns the index that narrows a query most; for an $or, one for each of its clauses; null where one has none. */
    private Way wayTo(Document query, Document order) {
        Way best = null;
        for (Index<Integer> index : getIndexes()) {
            Way way = index instanceof OrderedIndex ? ((OrderedIndex) index).wayTo(query, order) : null;
            if (way != null && (best == null || way.narrow > best.narrow)) {
                best = way;
            }
        }
        if (best != null || !(query.get("$or") instanceof List)) {
            return best;
        }
        Stream<Integer> positions = Stream.empty();
        boolean exact = query.size() == 1;
        for (Object clause : (List<?>) query.get("$or")) {
            Way way = wayTo((Document) clause, null);
            if (way == null) {
                return null;
            }
            positions = Stream.concat(positions, way.positions);
            exact = exact && way.exact;
        }
        return new Way(0, positions, false, exact);
    }
}

/** Where the documents are that a query can match. */
class Way {
    final int narrow; // the narrowest is best
    final Stream<Integer> positions;
    final boolean ordered; // as was asked for
    final boolean exact; // all of them match

    Way(int narrow, Stream<Integer> positions, boolean ordered, boolean exact) {
        this.narrow = narrow;
        this.positions = positions;
        this.ordered = ordered;
        this.exact = exact;
    }
}

/** A unique index whose keys are in order too, where they have several fields. */
class OrderedIndex extends MemoryUniqueIndex {
    /** Greater than every value; what is shorter is less than what begins with it. */
    private static final Object TOP = new Object();

    private final ConcurrentNavigableMap<List<Object>, Integer> ordered = new ConcurrentSkipListMap<>(OrderedIndex::compare);

    OrderedIndex(String name, List<IndexKey> keys, boolean sparse) {
        super(name, keys, sparse);
    }

    private static int compare(List<Object> a, List<Object> b) {
        for (int i = 0; i < a.size() && i < b.size(); i++) {
            int order = a.get(i) == TOP || b.get(i) == TOP
                ? Boolean.compare(a.get(i) == TOP, b.get(i) == TOP)
                : ValueComparator.asc().compare(a.get(i), b.get(i));
            if (order != 0) {
                return order;
            }
        }
        return Integer.compare(a.size(), b.size());
    }

    @Override
    protected boolean putKeyPosition(KeyValue key, Integer position) {
        boolean put = super.putKeyPosition(key, position);
        if (put && isCompoundIndex()) {
            ordered.put(key.stream().collect(Collectors.toList()), position);
        }
        return put;
    }

    @Override
    protected Integer removeDocument(KeyValue key) {
        ordered.remove(key.stream().collect(Collectors.toList()));
        return super.removeDocument(key);
    }

    /** Returns where a query's documents are; null where the query does not name the first field's value. */
    Way wayTo(Document query, Document order) {
        List<Object> named = new ArrayList<>();
        for (IndexKey key : getKeys()) {
            if (!isValue(query.get(key.getKey()))) {
                break;
            }
            named.add(normal(query.get(key.getKey())));
        }
        if (named.isEmpty()) {
            return null;
        }
        if (named.size() == getKeys().size()) {
            Integer position = getPosition(new KeyValue(named));
            boolean exact = query.size() == named.size();
            return new Way(2 * named.size(), position == null ? Stream.empty() : Stream.of(position), true, exact);
        }
        String next = getKeys().get(named.size()).getKey();
        Document range = query.get(next) instanceof Document ? (Document) query.get(next) : new Document();
        if (range.get("$in") instanceof Collection) {
            Stream<Integer> positions = ((Collection<?>) range.get("$in")).stream()
                .flatMap(value -> between(with(named, normal(value)), with(named, normal(value), TOP)).values().stream());
            boolean exact = query.size() == named.size() + 1 && range.size() == 1;
            return new Way(2 * named.size() + 1, positions, false, exact);
        }
        boolean sorts = order != null && order.size() == 1 && order.get(next) instanceof Number;
        ConcurrentNavigableMap<List<Object>, Integer> found = between(low(named, range), high(named, range));
        if (sorts && ((Number) order.get(next)).intValue() < 0) {
            found = found.descendingMap();
        }
        boolean exact = query.size() == named.size() && range.isEmpty();
        return new Way(2 * named.size() + (range.isEmpty() && !sorts ? 0 : 1), found.values().stream(), sorts, exact);
    }

    private static List<Object> low(List<Object> named, Document range) {
        if (isValue(range.get("$gt"))) {
            return with(named, normal(range.get("$gt")), TOP);
        }
        return isValue(range.get("$gte")) ? with(named, normal(range.get("$gte"))) : named;
    }

    private static List<Object> high(List<Object> named, Document range) {
        if (isValue(range.get("$lte"))) {
            return with(named, normal(range.get("$lte")), TOP);
        }
        return isValue(range.get("$lt")) ? with(named, normal(range.get("$lt"))) : with(named, TOP);
    }

    private ConcurrentNavigableMap<List<Object>, Integer> between(List<Object> low, List<Object> high) {
        return compare(low, high) < 0 ? ordered.subMap(low, true, high, false) : ordered.subMap(low, true, low, false);
    }

    private static List<Object> with(List<Object> values, Object... more) {
        List<Object> all = new ArrayList<>(values);
        all.addAll(List.of(more));
        return all;
    }

    private static boolean isValue(Object value) {
        return value instanceof String || value instanceof Number || value instanceof BinData || value instanceof UUID;
    }

    /** Numbers of all kinds are one in an index. */
    private static Object normal(Object value) {
        if (!(value instanceof Number)) {
            return value;
        }
        double number = ((Number) value).doubleValue();
        return value instanceof Long && (long) number != (Long) value ? value : (Object) (number + 0.0);
    }
}

/** The file of a collection: each change of a document, in order. A change that was cut off was never acknowledged. */
class Journal {
    static final byte ADDED = 1;
    static final byte CHANGED = 2;
    static final byte REMOVED = 3;

    private static final int HEADER = 9; // length of the document, kind, position

    private final Path file;
    private final ByteBuf buffer = Unpooled.directBuffer();
    private FileChannel channel;

    interface Change {
        void redo(byte kind, int position, Document document);
    }

    Journal(Path file) {
        this.file = file;
    }

    /** Does everything that is written once more and opens the journal for what follows. */
    void replay(Change change) {
        try {
            Files.createDirectories(file.getParent());
            long whole = Files.exists(file) ? read(change) : 0;
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            channel.truncate(whole).position(whole);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Returns the length of what is whole. */
    private long read(Change change) throws IOException {
        long whole = 0;
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 20))) {
            while (true) {
                int length = in.readInt();
                byte kind = in.readByte();
                int position = in.readInt();
                byte[] document = in.readNBytes(length);
                if (document.length < length) {
                    return whole;
                }
                change.redo(kind, position, BsonDecoder.decodeBson(Unpooled.wrappedBuffer(document)));
                whole += HEADER + length;
            }
        } catch (EOFException e) {
            return whole;
        }
    }

    /** Whoever can not write must not answer: it ends. */
    synchronized void write(byte kind, int position, Document document) {
        buffer.clear().writeInt(0).writeByte(kind).writeInt(position);
        BsonEncoder.encodeDocument(document, buffer);
        buffer.setInt(0, buffer.readableBytes() - HEADER);
        try {
            ByteBuffer bytes = buffer.nioBuffer();
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        } catch (IOException e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    void delete() {
        try {
            channel.close();
            Files.delete(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
