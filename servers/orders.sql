-- The sample's own database: the orders, and a journal that only grows.
CREATE TABLE IF NOT EXISTS orders (
    order_id     TEXT PRIMARY KEY,
    customer_id  TEXT NOT NULL,
    order_date   TEXT NOT NULL,
    quantity     INTEGER NOT NULL,
    amount_cents INTEGER NOT NULL,
    status       TEXT NOT NULL
);
-- Without a unique index on purpose: an effect that ran twice shows here.
CREATE TABLE IF NOT EXISTS order_journal (
    order_id TEXT NOT NULL,
    status   TEXT NOT NULL
);
