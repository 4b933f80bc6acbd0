/** Exact amounts: decimals come and go as text, and are never numbers on the way. */

const DECIMAL = /^-?\d+(\.\d+)?$/;

/** An amount in its currency, with every decimal that it has and two at least. */
export function money(amount: string, currency: string, language: string): string {
  const format = new Intl.NumberFormat(language, {
    style: "currency",
    currency,
    currencyDisplay: "narrowSymbol",
    minimumFractionDigits: 2,
    maximumFractionDigits: 10,
  });
  return format.format(amount as Intl.StringNumericLiteral);
}

/** A whole number of any length. */
export function quantity(digits: string, language: string): string {
  return new Intl.NumberFormat(language).format(BigInt(digits));
}

/** A decimal as people type it, as the gateway reads it: null if it is none. */
export function typedDecimal(text: string): string | null {
  const plain = text.replace(/[\s\u00a0\u202f]/g, "").replace(",", ".");
  return DECIMAL.test(plain) ? plain : null;
}
