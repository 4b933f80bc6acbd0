/** What a browser remembers of its reader's choices; one that keeps nothing forgets them with the page. */

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(`tessera.${name}`);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`tessera.${name}`);
    else localStorage.setItem(`tessera.${name}`, value);
  } catch {
    // It holds until the page is left.
  }
}
