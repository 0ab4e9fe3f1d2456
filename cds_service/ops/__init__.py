"""The operations page ``/ops``: the queue, the workers, the models and whom we depend on.

Nothing here names a patient: a study is the opaque id that ``scanhook jobs`` shows. `reading` asks
Redis and gives frozen values, `page` puts them into words, `routes` guards and serves them. `drift`
and `upstreams` are what workers leave word of for it.
"""
