-- rap.revocations is read each second by every instance of every service that checks its peers.

create index workers_revoked on rap.workers (id) where state = 'revoked';
create index identities_revoked on rap.identities (kind, id) where state = 'revoked';
