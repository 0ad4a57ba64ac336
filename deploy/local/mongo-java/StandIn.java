import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.AbstractUniqueIndex;
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
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.ObjectId;
import de.bwaldvogel.mongo.exception.DuplicateKeyError;
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
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
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
    private static final Map<String, String> NAMES = new ConcurrentHashMap<>();

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
                super.addDocumentInternal(slim(document));
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
        Integer position = super.addDocumentInternal(slim(document));
        journal.write(Journal.ADDED, position, document);
        return position;
    }

    /** Returns a copy that has its fields' names in common with all other documents. */
    private static Document slim(Document document) {
        Document copy = new Document();
        document.forEach((name, value) -> copy.put(NAMES.computeIfAbsent(name, n -> n), slim(value)));
        return copy;
    }

    private static Object slim(Object value) {
        if (value instanceof Document) {
            return slim((Document) value);
        }
        return value instanceof List ? ((List<?>) value).stream().map(KeptCollection::slim).collect(Collectors.toList()) : value;
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

/** A unique index whose keys are in order. */
class OrderedIndex extends AbstractUniqueIndex<Integer> {
    /** Greater than every value; what is shorter is less than what begins with it. */
    private static final Object TOP = new Object();

    private final String[][] paths; // of the keys
    private final ConcurrentNavigableMap<Object[], Integer> ordered = new ConcurrentSkipListMap<>(OrderedIndex::compare);

    OrderedIndex(String name, List<IndexKey> keys, boolean sparse) {
        super(name, keys, sparse);
        paths = keys.stream().map(key -> key.getKey().split("\\.")).toArray(String[][]::new);
    }

    private static int compare(Object[] a, Object[] b) {
        for (int i = 0; i < a.length && i < b.length; i++) {
            int order = compare(a[i], b[i]);
            if (order != 0) {
                return order;
            }
        }
        return Integer.compare(a.length, b.length);
    }

    private static int compare(Object a, Object b) {
        if (a == TOP || b == TOP) {
            return Boolean.compare(a == TOP, b == TOP);
        }
        if (a instanceof String && b instanceof String) {
            return ((String) a).compareTo((String) b);
        }
        if (a instanceof Double && b instanceof Double) {
            return Double.compare((Double) a, (Double) b);
        }
        return ValueComparator.asc().compare(a, b);
    }

    @Override
    public void checkAdd(Document document, MongoCollection<Integer> collection) {
        for (Object[] key : keysOf(document)) {
            if (ordered.containsKey(key)) {
                throw new DuplicateKeyError(this, collection, getKeys(), new KeyValue(key));
            }
        }
    }

    /** It has been checked. */
    @Override
    public void add(Document document, Integer position, MongoCollection<Integer> collection) {
        for (Object[] key : keysOf(document)) {
            ordered.put(key, position);
        }
    }

    /** Returns a document's keys: one, or one for each element of a list that one of the paths leads through. */
    private List<Object[]> keysOf(Document document) {
        Object[] key = new Object[paths.length];
        int listed = -1;
        for (int i = 0; i < paths.length; i++) {
            Object value = document.get(paths[i][0]);
            if (paths[i].length == 1 && isValue(value)) {
                key[i] = normal(value);
            } else if (paths[i].length == 2 && value instanceof List && listed < 0) {
                listed = i;
            } else {
                return anyKeysOf(document);
            }
        }
        if (listed < 0) {
            return Collections.singletonList(key);
        }
        List<Object[]> keys = new ArrayList<>();
        for (Object element : (List<?>) document.get(paths[listed][0])) {
            Object value = element instanceof Document ? ((Document) element).get(paths[listed][1]) : null;
            if (!isValue(value)) {
                return anyKeysOf(document);
            }
            Object[] one = key.clone();
            one[listed] = normal(value);
            keys.add(one);
        }
        return keys;
    }

    private List<Object[]> anyKeysOf(Document document) {
        return getKeyValues(document).stream().map(key -> key.stream().toArray()).collect(Collectors.toList());
    }

    @Override
    protected boolean putKeyPosition(KeyValue key, Integer position) {
        return ordered.putIfAbsent(key.stream().toArray(), position) == null;
    }

    @Override
    protected Integer removeDocument(KeyValue key) {
        return ordered.remove(key.stream().toArray());
    }

    @Override
    protected Integer getPosition(KeyValue key) {
        return ordered.get(key.stream().toArray());
    }

    @Override
    protected Iterable<Map.Entry<KeyValue, Integer>> getIterable() {
        return ordered.entrySet().stream().map(e -> Map.entry(new KeyValue(e.getKey()), e.getValue())).collect(Collectors.toList());
    }

    @Override
    public long getCount() {
        return ordered.size();
    }

    @Override
    public boolean isEmpty() {
        return ordered.isEmpty();
    }

    @Override
    public long getDataSize() {
        return 0;
    }

    /** Returns where a query's documents are; null where the query does not name the first field's value. */
    Way wayTo(Document query, Document order) {
        int count = 0;
        while (count < paths.length && isValue(query.get(getKeys().get(count).getKey()))) {
            count++;
        }
        if (count == 0) {
            return null;
        }
        Object[] named = getKeys().stream().limit(count).map(key -> normal(query.get(key.getKey()))).toArray();
        if (count == paths.length) {
            Integer position = ordered.get(named);
            return new Way(2 * count, position == null ? Stream.empty() : Stream.of(position), true, query.size() == count);
        }
        String next = getKeys().get(count).getKey();
        Document range = query.get(next) instanceof Document ? (Document) query.get(next) : new Document();
        if (range.get("$in") instanceof Collection) {
            Stream<Integer> positions = ((Collection<?>) range.get("$in")).stream()
                .flatMap(value -> between(with(named, normal(value)), with(named, normal(value), TOP)).values().stream());
            boolean exact = query.size() == count + 1 && range.size() == 1;
            return new Way(2 * count + 1, positions, false, exact);
        }
        boolean sorts = order != null && order.size() == 1 && order.get(next) instanceof Number;
        ConcurrentNavigableMap<Object[], Integer> found = between(low(named, range), high(named, range));
        if (sorts && ((Number) order.get(next)).intValue() < 0) {
            found = found.descendingMap();
        }
        boolean exact = query.size() == count && range.isEmpty();
        return new Way(2 * count + (range.isEmpty() && !sorts ? 0 : 1), found.values().stream(), sorts, exact);
    }

    private static Object[] low(Object[] named, Document range) {
        if (isValue(range.get("$gt"))) {
            return with(named, normal(range.get("$gt")), TOP);
        }
        return isValue(range.get("$gte")) ? with(named, normal(range.get("$gte"))) : named;
    }

    private static Object[] high(Object[] named, Document range) {
        if (isValue(range.get("$lte"))) {
            return with(named, normal(range.get("$lte")), TOP);
        }
        return isValue(range.get("$lt")) ? with(named, normal(range.get("$lt"))) : with(named, TOP);
    }

    private ConcurrentNavigableMap<Object[], Integer> between(Object[] low, Object[] high) {
        return compare(low, high) < 0 ? ordered.subMap(low, true, high, false) : ordered.subMap(low, true, low, false);
    }

    private static Object[] with(Object[] values, Object... more) {
        return Stream.concat(Arrays.stream(values), Arrays.stream(more)).toArray();
    }

    private static boolean isValue(Object value) {
        return value instanceof String || value instanceof Number || value instanceof BinData
            || value instanceof UUID || value instanceof ObjectId;
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
