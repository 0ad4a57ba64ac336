import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.AbstractMongoBackend;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/**
 * A stand-in for MongoDB: mongo-java-server with the wire version that today's drivers ask for.
 *
 * <p>Arguments: the port (0 = any), and a file to keep the data in (none = in memory). It says "ready PORT" on standard
 * output, and ends when its standard input does, so that it never outlives who started it. The file then holds everything;
 * after a kill -9 it may lack the last second.
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
        AbstractMongoBackend backend = args.length > 1 ? new H2Backend(args[1]) : new MemoryBackend();
        backend.version(VERSION);
        MongoServer server = new MongoServer(backend);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
        System.out.println("ready " + server.getLocalAddress().getPort());
        while (System.in.read() >= 0) {}
        System.exit(0);
    }
}
