/**
 * Lets a client outside production skip certificate validation, for smoke-only direct candidates alone.
 *
 * It is a symbol, so that no configuration file can set it and a text search finds every use. It has no effect in the
 * environments `production` and `prod`, on a candidate that is not smoke-only, on a gateway, on the API, or in a browser.
 *
 * @deprecated To make it stand out: for smoke tests only, and never a way to trust a certificate.
 */
export const allow_insecure_direct_data_plane_tls_for_smoke: unique symbol = Symbol(
  'allow_insecure_direct_data_plane_tls_for_smoke',
)
