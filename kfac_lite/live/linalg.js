// Linear algebra on matrices that stand row by row in m, each from the cell that is given.

// x = A^-1 b by elimination with partial pivoting: A (n, n) and b (n, k), A is destroyed. It fails where a pivot is no
// larger than the rounding of the numbers that it is the difference of, whatever the units of rows and columns are.
const sizes = [];
function solve(m, A, b, x, n, k, place) {
  for (let i = 0; i < n * k; i++) m[x + i] = m[b + i];
  for (let i = 0; i < n * n; i++) sizes[i] = Math.abs(m[A + i]);
  for (let j = 0; j < n; j++) {
    let pivot = j;
    for (let i = j + 1; i < n; i++) if (Math.abs(m[A + i * n + j]) > Math.abs(m[A + pivot * n + j])) pivot = i;
    if (pivot !== j) {
      for (let c = 0; c < n; c++) {
        [m[A + j * n + c], m[A + pivot * n + c]] = [m[A + pivot * n + c], m[A + j * n + c]];
        [sizes[j * n + c], sizes[pivot * n + c]] = [sizes[pivot * n + c], sizes[j * n + c]];
      }
      for (let c = 0; c < k; c++) [m[x + j * k + c], m[x + pivot * k + c]] = [m[x + pivot * k + c], m[x + j * k + c]];
    }
    const p = m[A + j * n + j];
    if (!(Math.abs(p) > 1e-15 * n * sizes[j * n + j] && Math.abs(p) < Infinity)) fail(place);
    for (let i = j + 1; i < n; i++) {
      const f = m[A + i * n + j] / p;
      for (let c = j + 1; c < n; c++) {
        m[A + i * n + c] -= f * m[A + j * n + c];
        sizes[i * n + c] = Math.max(sizes[i * n + c], Math.abs(f * m[A + j * n + c]));
      }
      for (let c = 0; c < k; c++) m[x + i * k + c] -= f * m[x + j * k + c];
    }
  }
  for (let i = n - 1; i >= 0; i--)
    for (let c = 0; c < k; c++) {
      let s = m[x + i * k + c];
      for (let j = i + 1; j < n; j++) s -= m[A + i * n + j] * m[x + j * k + c];
      m[x + i * k + c] = s / m[A + i * n + i];
    }
}

// x = L^-1 b for a lower triangular L (n, n) and b (n, k).
function substitute(m, L, b, x, n, k, place) {
  for (let i = 0; i < n; i++) {
    if (!(m[L + i * n + i] !== 0 && Math.abs(m[L + i * n + i]) < Infinity)) fail(place);
    for (let c = 0; c < k; c++) {
      let s = m[b + i * k + c];
      for (let j = 0; j < i; j++) s -= m[L + i * n + j] * m[x + j * k + c];
      m[x + i * k + c] = s / m[L + i * n + i];
    }
  }
}

// x = L with A = L L^T, L lower triangular with a positive diagonal: A (n, n).
function cholesky(m, A, x, n, place) {
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let s = m[A + i * n + j];
      for (let c = 0; c < j; c++) s -= m[x + i * n + c] * m[x + j * n + c];
      if (i === j && !(s > 0 && s < Infinity)) fail(place);
      m[x + i * n + j] = i === j ? Math.sqrt(s) : s / m[x + j * n + j];
      if (j < i) m[x + j * n + i] = 0;
    }
}

// x = R with A = Q R by reflections: A (n, k), R (r, k) with r = min(n, k), with the signs of LAPACK. A is destroyed.
function qr(m, A, x, n, k, place) {
  const r = Math.min(n, k);
  for (let j = 0; j < r; j++) {
    let tail = 0;
    for (let i = j + 1; i < n; i++) tail += m[A + i * k + j] ** 2;
    const a = m[A + j * k + j], beta = tail ? -Math.sign(a || 1) * Math.sqrt(a * a + tail) : a;
    if (!(Math.abs(beta) < Infinity)) fail(place);
    if (tail)
      for (let c = j + 1; c < k; c++) {
        let s = (a - beta) * m[A + j * k + c];
        for (let i = j + 1; i < n; i++) s += m[A + i * k + j] * m[A + i * k + c];
        const f = s / (beta * (beta - a));
        m[A + j * k + c] -= f * (a - beta);
        for (let i = j + 1; i < n; i++) m[A + i * k + c] -= f * m[A + i * k + j];
      }
    for (let c = 0; c < k; c++) m[x + j * k + c] = c < j ? 0 : c === j ? beta : m[A + j * k + c];
  }
}

// x = the eigenvalues of a symmetric A (n, n), the smallest first, and behind them the eigenvectors in columns, each
// with its largest entry positive. Jacobi's rotations; A is destroyed.
function rotate(m, i, j, c, s) {
  [m[i], m[j]] = [c * m[i] - s * m[j], s * m[i] + c * m[j]];
}
function eigh(m, A, x, n, place) {
  const V = x + n;
  for (let i = 0; i < n * n; i++) m[V + i] = i % (n + 1) ? 0 : 1;
  for (let sweep = 0, off = 1; off > 0 && sweep < 60; sweep++) {
    off = 0;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const a = m[A + p * n + q], d = m[A + q * n + q] - m[A + p * n + p];
        if (!(Math.abs(a) < Infinity && Math.abs(d) < Infinity)) {
          m.fill(NaN, x, V + n * n);
          return fail(place);
        }
        if (Math.abs(a) <= 1e-18 * (Math.abs(m[A + p * n + p]) + Math.abs(m[A + q * n + q]))) continue;
        off = 1;
        const h = d / (2 * a), t = (h < 0 ? -1 : 1) / (Math.abs(h) + Math.sqrt(h * h + 1));
        const c = 1 / Math.sqrt(t * t + 1), s = t * c;
        for (let i = 0; i < n; i++) rotate(m, A + i * n + p, A + i * n + q, c, s);
        for (let i = 0; i < n; i++) rotate(m, A + p * n + i, A + q * n + i, c, s);
        for (let i = 0; i < n; i++) rotate(m, V + i * n + p, V + i * n + q, c, s);
        m[A + p * n + q] = m[A + q * n + p] = 0;
      }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => m[A + i * n + i] - m[A + j * n + j]);
  const vectors = m.slice(V, V + n * n);
  order.forEach((from, to) => {
    m[x + to] = m[A + from * n + from];
    let largest = 0;
    for (let i = 0; i < n; i++) if (Math.abs(vectors[i * n + from]) > Math.abs(largest)) largest = vectors[i * n + from];
    for (let i = 0; i < n; i++) m[V + i * n + to] = vectors[i * n + from] * (largest < 0 ? -1 : 1);
  });
}
