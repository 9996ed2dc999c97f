// Causal attention whose weights are L1(f(x_ij)) or L1(relu(a_ij n_i - o_i)^p) with a = L1(f(x)), in float32:
// f is softplus or exp. One thread takes a block of rows of one head, so the scores of a block never leave its cache.
//
// Keys come in panels, depth first, and values in panels of their width. So both products, scores and output, are one
// small kernel that reads a panel from front to back and holds ROWS x VECTORS sums in registers.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
constexpr int LANES = 16, VECTORS = 4, ROWS = 6;
#else
constexpr int LANES = 8, VECTORS = 2, ROWS = 6;
#endif
constexpr int PANEL = LANES * VECTORS;  // keys, or numbers of a value, side by side; native.py packs them so
constexpr int BLOCK = 24;               // rows that a thread takes at a time
constexpr int CHUNK = 512;              // keys whose sum is formed in float32 before it is added to the whole
constexpr float CUT = 16 * std::numeric_limits<float>::epsilon();  // functions.rounding, which C++ cannot import

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline Vector load(const float* x) { return *reinterpret_cast<const Vector*>(x); }
static inline void store(float* x, Vector v) { *reinterpret_cast<Vector*>(x) = v; }
static inline Vector all(float x) { return x - Vector{}; }
static inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// c[ROWS][N vectors] (+)= a[ROWS][depth] b[depth][N vectors of a panel]
template <int N>
static void multiply(const float* a, long a_row, const float* b, float* c, long c_row, int depth, bool add) {
    Vector sum[ROWS][N];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < N; v++) sum[r][v] = add ? load(c + r * c_row + v * LANES) : Vector{};
    for (int d = 0; d < depth; d++, b += PANEL) {
        Vector right[N];
        for (int v = 0; v < N; v++) right[v] = load(b + v * LANES);
        for (int r = 0; r < ROWS; r++) {
            const Vector left = all(a[r * a_row + d]);
            for (int v = 0; v < N; v++) sum[r][v] += left * right[v];
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < N; v++) store(c + r * c_row + v * LANES, sum[r][v]);
}

// The same for the first `width` numbers of a panel, a multiple of LANES.
static void product(const float* a, long a_row, const float* b, float* c, long c_row, int depth, int width, bool add) {
    if (width >= PANEL) return multiply<VECTORS>(a, a_row, b, c, c_row, depth, add);
    for (int v = 0; v < width; v += LANES) multiply<1>(a, a_row, b + v, c + v, c_row, depth, add);
}

// e^x for x <= 0, to 1 unit in the last place; e^-87 below -87. NaN stays NaN, here and below.
static inline Vector exponential(Vector x) {
    x = x < -87.0f ? all(-87.0f) : x;
    const Vector whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    const Vector r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Vector y = all(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        y = y * r + c;
    y = y * r * r + r + 1.0f;
    return y * (Vector)((__builtin_convertvector(whole, Integers) + 127) << 23);
}

// log(1 + e^x) = max(x, 0) + log(1 + u), u = e^-|x|; log(1 + u) = 2 artanh(u / (2 + u)), a series in at most 1/9.
static inline Vector softplus(Vector x) {
    const Vector u = exponential(x > 0.0f ? -x : x), s = u / (u + 2.0f), t = s * s;
    Vector y = all(1.0f / 15.0f);
    for (float c : {1.0f / 13, 1.0f / 11, 1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3, 1.0f}) y = y * t + c;
    return (x < 0.0f ? Vector{} : x) + 2.0f * s * y;
}

static inline Vector power(Vector x, int p) {
    Vector y = all(1.0f);
    for (;; x *= x) {
        if (p & 1) y *= x;
        if (!(p >>= 1)) return y;
    }
}

// Every entry of a row replaced by map(entry); their sum. `n` may end within a vector: what is behind it becomes 0.
template <class Map>
static double mapped(float* row, int n, Map map) {
    double total = 0;
    for (int start = 0; start < n; start += CHUNK) {
        Vector sum = {};
        int j = start;
        for (; j + LANES <= n && j < start + CHUNK; j += LANES) {
            const Vector y = map(load(row + j));
            store(row + j, y);
            sum += y;
        }
        if (j < n && j < start + CHUNK) {
            Vector y = map(load(row + j));
            for (int l = n - j; l < LANES; l++) y[l] = 0;
            store(row + j, y);
            sum += y;
        }
        float chunk = 0;
        for (int l = 0; l < LANES; l++) chunk += sum[l];
        total += chunk;
    }
    return total;
}

static float largest(const float* row, int n) {
    Vector top = all(-std::numeric_limits<float>::infinity());
    int j = 0;
    for (; j + LANES <= n; j += LANES) top = larger(top, load(row + j));
    float x = top[0];
    for (int l = 1; l < LANES; l++) x = std::fmax(x, top[l]);
    for (; j < n; j++) x = std::fmax(x, row[j]);
    return x;
}

// Scores of a row become its weights, but for the factor that is returned (0 where nothing has weight).
static double weigh(float* row, int n, bool soft, int p) {
    const float highest = largest(row, n);
    double sum;
    float top;
    if (soft && highest > -20.0f) {
        sum = mapped(row, n, [](Vector x) { return softplus(x); });
        top = softplus(all(highest))[0];
    } else {  // so far down softplus is exp, and shifting the row keeps it from underflow
        sum = mapped(row, n, [highest](Vector x) { return exponential(x - highest); });
        top = 1.0f;
    }
    if (p > 0) {
        const float o = n > 3 ? 1.0f : 0.0f, most = (float)(top * (n / sum)) - o;
        const float scale = most < CUT ? 1.0f : 1.0f / most, cut = CUT * scale;
        const float slope = (float)(n / sum) * scale, offset = o * scale;
        const auto raised = [=](auto p) {
            return mapped(row, n, [=](Vector x) {
                const Vector y = x * slope - offset;
                return power(y < cut ? Vector{} : y, p);
            });
        };
        sum = p == 15 ? raised(std::integral_constant<int, 15>()) : raised(p);  // unrolled for the usual power
    }
    return sum > 0 ? 1 / sum : 0;
}

extern "C" int panel() { return PANEL; }

// query [heads, rows, depth]; key, packed, [heads / group, panels, depth, PANEL]; value, packed, [heads / group, panels,
// keys, PANEL]; output [heads, rows, width], width a multiple of 16. Row i sees the first keys - rows + i + 1 keys.
extern "C" void attend(const float* query, const float* key, const float* value, float* output, int heads, int group,
                       int rows, int keys, int depth, int width, int soft, int p, int threads) {
    const long blocks = (rows + BLOCK - 1) / BLOCK, padded = (keys + PANEL - 1) / PANEL * PANEL;
    const long wide = (width + PANEL - 1) / PANEL * PANEL;
    const long line = padded + 16;  // lines a page apart would share few places of the cache
    std::atomic<long> next{0};
    auto work = [&] {
        std::vector<float> scores(BLOCK * line), queries(BLOCK * depth), sums(BLOCK * width);
        for (long item; (item = next++) < heads * blocks;) {
            const long head = item % heads, start = (blocks - 1 - item / heads) * BLOCK;  // the longest rows first
            const int here = (int)std::min<long>(BLOCK, rows - start), seen = (int)(keys - rows + start + here);
            const float* k = key + head / group * padded * depth;
            const float* v = value + head / group * keys * wide;
            std::fill(queries.begin(), queries.end(), 0.0f);
            std::memcpy(queries.data(), query + (head * rows + start) * depth, sizeof(float) * here * depth);
            for (long j = 0; j < seen; j += PANEL)
                for (int r = 0; r < BLOCK; r += ROWS)
                    product(&queries[r * depth], depth, k + j * depth, &scores[r * line + j], line, depth, PANEL, false);
            double factor[BLOCK] = {};
            for (int r = 0; r < here; r++) {
                const int n = seen - here + r + 1;
                factor[r] = weigh(&scores[r * line], n, soft, p);
                std::fill(&scores[r * line + n], &scores[r * line + seen], 0.0f);
            }
            for (long j = 0; j < seen; j += CHUNK)
                for (int w = 0; w < width; w += PANEL)
                    for (int r = 0; r < BLOCK; r += ROWS)
                        product(&scores[r * line + j], line, v + w * (long)keys + j * PANEL, &sums[r * width + w], width,
                                (int)std::min<long>(CHUNK, seen - j), width - w, j > 0);
            for (int r = 0; r < here; r++)
                for (int w = 0; w < width; w++)
                    output[(head * rows + start + r) * width + w] = (float)(sums[r * width + w] * factor[r]);
        }
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) others.emplace_back(work);
    work();
    for (auto& other : others) other.join();
}
