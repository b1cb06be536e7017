-- What each shop has sold: the number of orders, and their cents.
CREATE TABLE sales (shop STRING, order_number BIGINT, cents BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{sales}', 'format' = 'csv');

CREATE TABLE totals (shop STRING, orders BIGINT, cents BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{totals}', 'format' = 'csv');

INSERT INTO totals SELECT shop, COUNT(*), SUM(cents) FROM sales GROUP BY shop;
