/*
 * The dispatcher of a load shard: schedules arrivals at a rate that is steered while JMeter runs, and hands each one to a
 * thread of the plan. The set-up thread group of a prepared plan runs this script once; each thread of a load group then
 * asks `props.get('headroom.arrivals').take(<group>)` for its next arrival and gets {lag in microseconds, number}, or null
 * at the end. JMeter properties configure it:
 *
 *   headroom.control    file with one line `<beat> <epoch> <seq> <rate per second> <run|end>`, replaced by the shard program
 *   headroom.status     file that this script replaces about five times a second (JSON)
 *   headroom.groups     weight of each load group, separated by commas
 *   headroom.gaps       poisson or even
 *   headroom.seed       of the random streams
 *   headroom.max_rate   arrivals per second that no order may exceed
 *   headroom.lease_s    without a new beat in the control file for this long the rate is zero
 *
 * Three daemon threads share the work, so that neither a slow disk nor JMeter's own threads can delay an arrival.
 */
import groovy.transform.CompileStatic
import java.lang.management.GarbageCollectorMXBean
import java.lang.management.ManagementFactory
import java.lang.management.MemoryUsage
import java.nio.charset.StandardCharsets
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.nio.file.StandardCopyOption
import java.util.concurrent.locks.LockSupport

/** One scheduled arrival; `dueNanos` is on the scale of System.nanoTime(). */
@CompileStatic
final class Arrival {
    static final Arrival END = new Arrival(-1L, 0L)

    final long number
    final long dueNanos

    Arrival(long number, long dueNanos) {
        this.number = number
        this.dueNanos = dueNanos
    }
}

/** Where a thread of the plan waits. `busy` and the deque it stands in are guarded by its group. */
@CompileStatic
final class Seat {
    final Thread thread
    volatile Arrival given
    boolean busy

    Seat(Thread thread) {
        this.thread = thread
    }
}

/**
 * The threads of one load group and the arrivals that wait for them.
 *
 * The thread that became idle last gets the next arrival: few warm threads and connections do the work, instead of all in
 * turn. Arrivals wait only while no thread is idle, and then in the order in which they were due. `this` guards all counts.
 */
@CompileStatic
final class LoadGroup {
    private final ArrayDeque<Seat> idle = new ArrayDeque<Seat>()
    private final ArrayDeque<Arrival> waiting = new ArrayDeque<Arrival>()
    private final ArrayList<Seat> seats = new ArrayList<Seat>()
    private boolean ended
    private long dispatched
    private long taken
    private long completed
    private long dropped

    /** Blocks the calling thread until an arrival is its own; null at the end. Its call completes its last arrival. */
    Arrival take(ThreadLocal<Seat> own) {
        Seat seat = own.get()
        synchronized (this) {
            if (seat == null) {
                seat = new Seat(Thread.currentThread())
                own.set(seat)
                seats.add(seat)
            }
            complete(seat)
            if (ended) {
                return null
            }
            Arrival next = waiting.poll()
            if (next != null) {
                seat.busy = true
                taken++
                return next
            }
            seat.given = null
            idle.push(seat)
        }
        Arrival arrival = seat.given
        while (arrival == null) {
            LockSupport.park(this)
            arrival = seat.given
            if (arrival == null && Thread.interrupted()) {  // JMeter stops its threads by interrupting them
                arrival = leave(seat)
            }
        }
        return arrival.is(Arrival.END) ? null : arrival
    }

    void offer(Arrival arrival) {
        Seat seat
        synchronized (this) {
            dispatched++
            seat = idle.poll()
            if (seat == null) {
                waiting.add(arrival)
                return
            }
            seat.busy = true
            taken++
            seat.given = arrival
        }
        LockSupport.unpark(seat.thread)
    }

    synchronized void dropWaiting() {
        dropped += waiting.size()
        waiting.clear()
    }

    void end() {
        ArrayList<Seat> sleepers
        synchronized (this) {
            ended = true
            dropWaiting()
            sleepers = new ArrayList<Seat>(idle)
            idle.clear()
            for (Seat seat : sleepers) {
                seat.given = Arrival.END
            }
        }
        for (Seat seat : sleepers) {
            LockSupport.unpark(seat.thread)
        }
    }

    /** Adds {dispatched, taken, completed, dropped, waiting, threads, idle threads} to `sums`. */
    synchronized void addTo(long[] sums) {
        forgetDeadThreads()
        sums[0] += dispatched
        sums[1] += taken
        sums[2] += completed
        sums[3] += dropped
        sums[4] += waiting.size()
        sums[5] += seats.size()
        sums[6] += idle.size()
    }

    private void complete(Seat seat) {
        if (seat.busy) {
            seat.busy = false
            completed++
        }
    }

    private synchronized Arrival leave(Seat seat) {
        if (seat.given != null) {
            return seat.given
        }
        idle.remove(seat)
        return Arrival.END
    }

    /** A thread that the plan stopped in mid-iteration does not come back to complete its arrival. */
    private void forgetDeadThreads() {
        Iterator<Seat> each = seats.iterator()
        while (each.hasNext()) {
            Seat seat = each.next()
            if (!seat.thread.isAlive()) {
                complete(seat)
                each.remove()
            }
        }
    }
}

/** A line of the control file. */
@CompileStatic
final class Order {
    static final Order NONE = new Order(0L, 0L, 0.0d, false)

    final long epoch
    final long seq
    final double rate
    final boolean end

    Order(long epoch, long seq, double rate, boolean end) {
        this.epoch = epoch
        this.seq = seq
        this.rate = rate
        this.end = end
    }

    /** Null for a line that is no order. */
    static Order parse(String line) {
        String[] words = line.trim().split(' ')
        if (words.length != 5 || !(words[4] == 'run' || words[4] == 'end')) {
            return null
        }
        try {
            double rate = Double.parseDouble(words[3])
            boolean sane = rate >= 0.0d && rate < 1e9d  // false for NaN, too
            return sane ? new Order(Long.parseLong(words[1]), Long.parseLong(words[2]), rate, words[4] == 'end') : null
        } catch (NumberFormatException ignored) {
            return null
        }
    }
}

/** The order the dispatcher took last, the rate it keeps, and since when (wall clock) it has taken that order's rate. */
@CompileStatic
final class InForce {
    final Order order
    final double rate
    final long takenAtMillis

    InForce(Order order, double rate, long takenAtMillis) {
        this.order = order
        this.rate = rate
        this.takenAtMillis = takenAtMillis
    }
}

/** Arrivals dispatched in each of the last seconds of the wall clock, by the time they were due. */
@CompileStatic
final class SecondCounts {
    private static final int KEPT = 64
    private static final int SHOWN = 30
    private final long[] seconds = new long[KEPT]
    private final int[] counts = new int[KEPT]

    synchronized void add(long second) {
        int place = (int) (second % KEPT)
        if (seconds[place] != second) {
            seconds[place] = second
            counts[place] = 0
        }
        counts[place]++
    }

    synchronized String toJson(long nowSecond) {
        StringBuilder text = new StringBuilder('{')
        for (long second = nowSecond - SHOWN; second <= nowSecond; second++) {
            int place = (int) (second % KEPT)
            if (seconds[place] == second) {
                text.append(text.length() > 1 ? ',' : '').append('"').append(second).append('":').append(counts[place])
            }
        }
        return text.append('}').toString()
    }
}

@CompileStatic
final class Dispatcher implements Runnable {
    static final long MILLI = 1_000_000L
    private static final long LOOK_NANOS = 20 * MILLI  // a new order is seen at least this often

    final LoadGroup[] groups
    final SecondCounts secondCounts = new SecondCounts()
    volatile Order wanted = Order.NONE
    volatile InForce inForce = new InForce(Order.NONE, 0.0d, 0L)
    volatile long beatNanos = System.nanoTime()
    volatile Thread thread

    private final double[] shares  // running sum of the weights, the last one 1
    private final SplittableRandom gaps
    private final SplittableRandom choices
    private final boolean poisson
    private final double maxRate
    private final long leaseNanos
    private final ThreadLocal<Seat> seat = new ThreadLocal<Seat>()
    private long numbers

    Dispatcher(double[] weights, boolean poisson, long seed, double maxRate, double leaseSeconds) {
        this.poisson = poisson
        this.maxRate = maxRate
        this.leaseNanos = (long) (leaseSeconds * 1e9d)
        SplittableRandom root = new SplittableRandom(seed)
        gaps = root.split()
        choices = root.split()
        groups = new LoadGroup[weights.length]
        shares = new double[weights.length]
        double total = 0.0d
        for (int i = 0; i < weights.length; i++) {
            groups[i] = new LoadGroup()
            total += weights[i]
            shares[i] = total
        }
        for (int i = 0; i < weights.length; i++) {
            shares[i] = i == weights.length - 1 ? 1.0d : shares[i] / total
        }
    }

    /** For the threads of the plan: {lag in microseconds, number} of the next arrival of a group, or null at the end. */
    long[] take(int group) {
        Arrival arrival = groups[group].take(seat)
        if (arrival == null) {
            return null
        }
        long lagNanos = Math.max(0L, System.nanoTime() - arrival.dueNanos)
        long[] answer = new long[2]
        answer[0] = lagNanos.intdiv(1000L) as long
        answer[1] = arrival.number
        return answer
    }

    void follow(Order order) {
        wanted = order
        LockSupport.unpark(thread)
    }

    void run() {
        thread = Thread.currentThread()
        double rate = 0.0d
        long next = 0L
        while (true) {
            Order order = wanted
            long now = System.nanoTime()
            boolean leased = now - beatNanos <= leaseNanos
            double ordered = leased && !order.end ? Math.min(order.rate, maxRate) : 0.0d
            if (ordered != rate) {
                // What was due at the old rate is dispatched; the new rate starts here, without making up for anything.
                while (rate > 0.0d && ordered > 0.0d && next <= now) {
                    dispatch(next, now)
                    next += gap(rate)
                }
                rate = ordered
                next = now + firstGap(rate)
                if (rate == 0.0d) {
                    for (LoadGroup group : groups) {
                        group.dropWaiting()
                    }
                }
            }
            if (inForce.rate != rate || !inForce.order.is(order)) {
                boolean renewal = inForce.takenAtMillis > 0L && inForce.order.rate == order.rate
                inForce = new InForce(order, rate, renewal ? inForce.takenAtMillis : System.currentTimeMillis())
            }
            if (order.end) {
                for (LoadGroup group : groups) {
                    group.end()
                }
                return
            }
            if (rate > 0.0d && next <= now) {
                dispatch(next, now)
                next += gap(rate)
            } else {
                LockSupport.parkNanos(this, rate > 0.0d ? Math.min(next - now, LOOK_NANOS) : LOOK_NANOS)
            }
        }
    }

    private void dispatch(long due, long now) {
        double draw = choices.nextDouble()
        int group = 0
        while (draw >= shares[group]) {
            group++
        }
        long dueMillis = System.currentTimeMillis() - (now - due).intdiv(MILLI) as long
        secondCounts.add(dueMillis.intdiv(1000L) as long)
        groups[group].offer(new Arrival(++numbers, due))
    }

    private long gap(double rate) {
        double mean = 1e9d / rate
        return (long) (poisson ? -Math.log(1.0d - gaps.nextDouble()) * mean : mean)
    }

    /** Even arrivals start at a random phase, so that shards do not beat in step. */
    private long firstGap(double rate) {
        return rate <= 0.0d ? 0L : poisson ? gap(rate) : (long) (gaps.nextDouble() * 1e9d / rate)
    }
}

/** Reads the control file; a line that did not change is no beat. */
@CompileStatic
final class ControlReader implements Runnable {
    private static final long POLL_MILLIS = 20L
    private final Dispatcher dispatcher
    private final Path file
    private String last = ''

    ControlReader(Dispatcher dispatcher, Path file) {
        this.dispatcher = dispatcher
        this.file = file
    }

    void run() {
        while (!dispatcher.wanted.end) {
            try {
                String line = new String(Files.readAllBytes(file), StandardCharsets.US_ASCII)
                Order order = line == last ? null : Order.parse(line)
                if (order != null) {
                    last = line
                    dispatcher.beatNanos = System.nanoTime()
                    Order before = dispatcher.wanted
                    boolean same = before.epoch == order.epoch && before.seq == order.seq
                    if (!same || before.rate != order.rate || before.end != order.end) {
                        dispatcher.follow(order)
                    }
                }
            } catch (IOException ignored) {
                // No readable file is no beat: the lease runs out by itself.
            }
            Thread.sleep(POLL_MILLIS)
        }
    }
}

/** Writes the status file until the JVM ends, and a last time then: an arrival since the last period counts, too. */
@CompileStatic
final class StatusWriter implements Runnable {
    private static final long PERIOD_MILLIS = 200L
    private final Dispatcher dispatcher
    private final Path file
    private final Path temporary

    StatusWriter(Dispatcher dispatcher, Path file) {
        this.dispatcher = dispatcher
        this.file = file
        this.temporary = file.resolveSibling(file.fileName.toString() + '.new')
    }

    void run() {
        while (true) {
            write()
            Thread.sleep(PERIOD_MILLIS)
        }
    }

    synchronized void write() {
        try {
            Files.write(temporary, text().getBytes(StandardCharsets.US_ASCII))
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING)
        } catch (IOException ignored) {
            // The shard program notices a status that gets old, and a disk that is full.
        }
    }

    private String text() {
        long now = System.currentTimeMillis()
        long[] sums = new long[7]
        for (LoadGroup group : dispatcher.groups) {
            group.addTo(sums)
        }
        InForce inForce = dispatcher.inForce
        MemoryUsage heap = ManagementFactory.memoryMXBean.heapMemoryUsage
        long gcMillis = 0L
        for (GarbageCollectorMXBean collector : ManagementFactory.garbageCollectorMXBeans) {
            gcMillis += Math.max(0L, collector.collectionTime)
        }
        com.sun.management.UnixOperatingSystemMXBean system =
            (com.sun.management.UnixOperatingSystemMXBean) ManagementFactory.operatingSystemMXBean
        StringBuilder json = new StringBuilder(1024)
        json.append('{"at_ms":').append(now)
        json.append(',"epoch":').append(inForce.order.epoch).append(',"seq":').append(inForce.order.seq)
        json.append(',"rate_per_s":').append(inForce.rate).append(',"in_force_at_ms":').append(inForce.takenAtMillis)
        json.append(',"dispatched":').append(sums[0]).append(',"taken":').append(sums[1])
        json.append(',"completed":').append(sums[2]).append(',"dropped":').append(sums[3])
        json.append(',"backlog":').append(sums[4]).append(',"threads":').append(sums[5])
        json.append(',"threads_idle":').append(sums[6])
        json.append(',"cpu_s":').append(system.processCpuTime / 1e9d).append(',"gc_s":').append(gcMillis / 1e3d)
        json.append(',"heap_used":').append(heap.used).append(',"heap_max":').append(heap.max)
        json.append(',"open_fds":').append(system.openFileDescriptorCount)
        json.append(',"max_fds":').append(system.maxFileDescriptorCount)
        json.append(',"offered":').append(dispatcher.secondCounts.toJson(now.intdiv(1000L) as long)).append('}\n')
        return json.toString()
    }
}

String[] weightTexts = props.getProperty('headroom.groups').split(',')
double[] weights = new double[weightTexts.length]
for (int i = 0; i < weights.length; i++) {
    weights[i] = Double.parseDouble(weightTexts[i])
}
Dispatcher dispatcher = new Dispatcher(
    weights,
    props.getProperty('headroom.gaps', 'poisson') == 'poisson',
    Long.parseLong(props.getProperty('headroom.seed')),
    Double.parseDouble(props.getProperty('headroom.max_rate')),
    Double.parseDouble(props.getProperty('headroom.lease_s', '3'))
)
StatusWriter status = new StatusWriter(dispatcher, Paths.get(props.getProperty('headroom.status')))
Map<String, Runnable> workers = [
    'headroom-dispatcher': dispatcher,
    'headroom-control'   : new ControlReader(dispatcher, Paths.get(props.getProperty('headroom.control'))),
    'headroom-status'    : status,
]
workers.each { String name, Runnable work ->
    Thread thread = new Thread(work, name)
    thread.daemon = true
    thread.start()
}
Runtime.runtime.addShutdownHook(new Thread({ status.write() } as Runnable, 'headroom-last-status'))
props.put('headroom.arrivals', dispatcher)
if (binding.hasVariable('SampleResult')) {
    SampleResult.setIgnore()
}
