/** A part of a list: at most so many rows, behind the row with this id; null begins at the beginning. */
export type Page = { readonly after: string | null; readonly rows: number };

/** `next` is the id of the last row, to be given as the cursor of the page behind it; null at the end. */
export type Paged<Row> = { readonly data: readonly Row[]; readonly next: string | null };

/** Cuts off the one row that was read beyond the page to learn whether there is more. */
export function pageOf<Row>(
  rows: readonly Row[],
  page: { readonly rows: number },
  idOf: (row: Row) => string,
): Paged<Row> {
  const data = rows.slice(0, page.rows);
  const last = data.at(-1);
  return { data, next: rows.length > page.rows && last !== undefined ? idOf(last) : null };
}
