import { expect, test } from "vitest";
import { wrongWebhookUrl } from "../../src/core/webhook.ts";

test.each([
  "https://example.com/hooks/tollgate?tenant=1",
  "https://example.com:8443/",
  "https://hooks.example.co.uk/a%20b",
  "https://8.8.8.8/hook",
  "https://[2606:4700:4700::1111]/hook",
])("a message may go to %s", (url) => {
  expect(wrongWebhookUrl(url, false)).toBeNull();
});

test.each([
  ["plain http", "http://example.com/hook"],
  ["another scheme", "ftp://example.com/hook"],
  ["a file", "file:///etc/passwd"],
  ["a script", "javascript:alert(1)"],
  ["no URL", "example.com/hook"],
  ["nothing", ""],
  ["loopback", "https://127.0.0.1/hook"],
  ["loopback's name", "https://localhost/hook"],
  ["loopback's name with a dot", "https://localhost./hook"],
  ["a name below loopback's", "https://db.localhost/hook"],
  ["loopback as one decimal", "https://2130706433/hook"],
  ["loopback in octal", "https://0177.0.0.1/hook"],
  ["loopback in hexadecimal", "https://0x7f.0.0.1/hook"],
  ["loopback, shortened", "https://127.1/hook"],
  ["loopback in full-width digits", "https://１２７.0.0.1/hook"],
  ["loopback in circled digits", "https://①②⑦.0.0.1/hook"],
  ["loopback, percent-encoded", "https://%31%32%37.0.0.1/hook"],
  ["loopback with a dot", "https://127.0.0.1./hook"],
  ["this host", "https://0/hook"],
  ["IPv6 loopback", "https://[::1]/hook"],
  ["IPv4 in IPv6", "https://[::ffff:127.0.0.1]/hook"],
  ["IPv4 in IPv6, in hexadecimal", "https://[::ffff:7f00:1]/hook"],
  ["IPv4 translated", "https://[64:ff9b::7f00:1]/hook"],
  ["cloud metadata", "https://169.254.169.254/latest/meta-data"],
  ["cloud metadata over IPv6", "https://[fd00:ec2::254]/latest"],
  ["a private network", "https://10.1.2.3/hook"],
  ["another private network", "https://192.168.0.1/hook"],
  ["a user", "https://user@example.com/hook"],
  ["a user and password", "https://user:pw@example.com/hook"],
  ["an address behind @", "https://example.com@127.0.0.1/hook"],
  ["an empty user", "https://@example.com/hook"],
  ["a backslash for @", "https://example.com\\@127.0.0.1/hook"],
  ["backslashes for slashes", "https:\\\\example.com\\hook"],
  ["a fragment", "https://example.com/hook#x"],
  ["a fragment before the host's end", "https://127.0.0.1#.example.com/"],
  ["a space", "https://example.com/a b"],
  ["a line break", "https://exa\nmple.com/hook"],
  ["a tab", "https://127.0.\t0.1/hook"],
  ["NUL", "https://example.com/\0"],
  ["letters beyond ASCII", "https://exämple.com/hook"],
  ["too many characters", `https://example.com/${"a".repeat(2_048)}`],
])("and not to %s", (_, url) => {
  expect(wrongWebhookUrl(url, false)).not.toBeNull();
});

test.each(["http://127.0.0.1:9000/hook", "https://10.1.2.3/", "http://receiver.internal/hook"])(
  "to %s where the operator allows private ones",
  (url) => {
    expect(wrongWebhookUrl(url, true)).toBeNull();
    expect(wrongWebhookUrl(url, false)).toContain("allow_private");
  },
);

test.each(["file:///etc/passwd", "http://a@127.0.0.1/", "http://127.0.0.1\\x", "http://x/#y"])(
  "and never to %s",
  (url) => {
    expect(wrongWebhookUrl(url, true)).not.toBeNull();
  },
);
