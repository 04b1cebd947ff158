"""The faults that are tried, each with its promise and the tests that show it.

`make test-faults` runs them, and writes what it found to docs/reliability.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `elsewhere` are tests of other folders that show it; those of this one note it."""

    number: int
    name: str
    promise: str
    elsewhere: tuple[str, ...] = ()
    has_own: bool = False
    """Whether tests of this folder try it, too."""
    needs_time: bool = False
    """Whether it takes minutes on an idle machine: the table may be written without it."""


_KEEPER = "tests/server/models/test_engine_keeper.py::"
_SERVED = "tests/server/models/test_served_model.py::"
_SERVICE = "tests/server/rpc/test_service.py::"
_EDGE_APP = "tests/edge/test_app.py::"
_BODY = "tests/edge/test_body.py::"
_HTTP = "tests/edge/connections/test_connection.py::"
_TLS = "tests/tls/test_watched_credentials.py::"
_SYSTEM_TLS = "tests/system/test_tls.py::"
_SPANS = "tests/tracing/test_span_queue.py::"
_DOWNLOAD = "tests/server/files/hub/test_download.py::"

FAULTS = (
    Fault(
        1,
        "engine killed with SIGKILL",
        "streams go on where they were; without continuation each ends with ENGINE_LOST",
        (
            "tests/system/test_llama_cpp_restart.py",
            _SERVED + "test_death_of_the_engine_ends_streams_and_restarts",
        ),
        has_own=True,
    ),
    Fault(
        2,
        "engine stopped with SIGSTOP",
        "it is taken for dead, and its streams go on with the next one",
        (
            _KEEPER + "test_frozen_engine_is_replaced",
            _KEEPER + "test_engine_that_reads_no_prompt_is_replaced",
            _KEEPER + "test_frozen_engine_holds_up_no_other_model",
        ),
        has_own=True,
    ),
    Fault(
        3,
        "engine dies at each start",
        "longer and longer pauses, then the model has failed with a reason; the front stays up",
        (
            "tests/test_restart_backoff.py",
            _SERVED + "test_engine_that_dies_while_it_is_restarted_is_tried_again",
            "tests/server/models/test_models.py::test_death_of_one_engine_leaves_the_others_alone",
            "tests/test_supervisor.py::test_a_child_that_keeps_dying_is_given_up",
        ),
    ),
    Fault(
        4,
        "edge killed",
        "its requests leave the engine, streams over gRPC go on, the next edge serves",
        ("tests/test_supervisor.py::test_a_killed_child_is_started_again",),
        has_own=True,
    ),
    Fault(
        5,
        "front killed",
        "its engine goes with it and the port is free; streams of the edge end with an error",
        (
            "tests/server/engines/llama_cpp/child/test_main.py::test_child_dies_with_parent",
            "tests/test_supervisor.py::test_children_end_with_a_killed_supervisor",
        ),
        has_own=True,
    ),
    Fault(
        6,
        "clients that stop reading",
        "memory stays bounded, others are not hurt; over HTTP they are ended",
        (
            "tests/server/rpc/test_sender.py::test_slow_reader_gets_everything_in_few_messages",
            "tests/server/request/log/test_request_log.py::test_reader_that_stops_costs_one_batch",
            _HTTP + "test_an_answer_that_nobody_reads_is_given_up",
        ),
        has_own=True,
    ),
    Fault(
        7,
        "hundreds of clients vanish at once",
        "each leaves the engine; no descriptor, task or slot stays",
        has_own=True,
    ),
    Fault(
        8,
        "network cable pulled",
        "the request of a client that nobody can reach ends",
        has_own=True,
    ),
    Fault(
        9,
        "deadline passes",
        "DEADLINE_EXCEEDED or 504, the engine is freed, one that cannot be met is refused at once",
        (
            _SERVICE + "test_deadline_aborts",
            "tests/edge/test_context.py::test_a_deadline_that_passes_is_504",
            "tests/server/rpc/test_service_admission.py"
            "::test_unreachable_deadline_is_refused_at_once",
        ),
    ),
    Fault(
        10,
        "SIGTERM with streams open",
        "health says so first, new calls hear DRAINING, those that run finish",
        (
            _SERVICE + "test_drain_finishes_what_runs_and_refuses_the_rest",
            _EDGE_APP + "test_a_drain_lets_streams_finish",
            "tests/test_supervisor.py::test_sigterm_ends_both_in_order",
        ),
        has_own=True,
    ),
    Fault(
        11,
        "stream longer than the drain",
        "it ends with DRAINING at the limit; a second signal ends all at once",
        (
            _SERVICE + "test_drain_ends_what_outlasts_it",
            _EDGE_APP + "test_a_drain_ends_streams_at_its_limit",
            "tests/test_supervisor.py::test_second_signal_forces",
        ),
    ),
    Fault(
        12,
        "queue full",
        "the rest is refused with AT_CAPACITY and when to retry; the queue keeps its order",
        (
            "tests/server/rpc/test_statuses.py::test_full_server_refuses_with_retry",
            "tests/server/models/test_admission.py::test_first_come_first_served",
        ),
        has_own=True,
    ),
    Fault(
        13,
        "message or body too large",
        "RESOURCE_EXHAUSTED or 413 with the limit; it is not read",
        (
            "tests/server/rpc/test_intake.py",
            _BODY + "test_a_body_over_the_limit_is_413",
            _BODY + "test_a_chunked_body_is_bounded_too",
            _BODY + "test_the_limit_counts_what_a_body_unpacks_to",
        ),
    ),
    Fault(
        14,
        "broken JSON, wrong types, odd bytes",
        "400 with the field; never 500",
        (
            _BODY + "test_what_is_no_json_object_is_refused",
            _BODY + "test_a_body_that_is_no_text_is_told_so",
            "tests/edge/test_fields.py",
            "tests/server/rpc/test_validation.py",
        ),
    ),
    Fault(
        15,
        "broken protobuf, lying lengths, unknown methods",
        "the call fails, its neighbours on the connection go on, nothing internal is told",
        ("tests/server/rpc/test_steady_server.py", "tests/server/rpc/test_validation.py"),
        has_own=True,
    ),
    Fault(
        16,
        "floods of headers and resets",
        "refused; others are served meanwhile",
        (
            _HTTP + "test_headers_far_beyond_the_limit_are_answered_too",
            _HTTP + "test_headers_that_trickle_in_are_bounded_together",
            "tests/edge/connections/test_head_limits.py",
            "tests/edge/connections/test_smuggling.py",
            "tests/server/rpc/test_bursts.py",
        ),
        has_own=True,
    ),
    Fault(
        17,
        "slow senders",
        "closed at the limit; others are served meanwhile",
        (
            _HTTP + "test_slow_headers_are_answered_and_end_the_connection",
            _BODY + "test_a_slow_body_is_408",
            _EDGE_APP + "test_a_handshake_has_an_end",
            "tests/proxies/test_slow_clients.py",
        ),
    ),
    Fault(
        18,
        "files of TLS broken or expired",
        "the start is refused and the variable named; expired ones are warned of",
        (
            "tests/tls/test_pem_files.py",
            _SYSTEM_TLS + "test_broken_files_end_the_start",
            _TLS + "test_expired_is_a_warning",
        ),
    ),
    Fault(
        19,
        "wrong client certificate, old TLS",
        "the handshake fails; no call gets through",
        (
            _SYSTEM_TLS + "test_client_certificates",
            _SYSTEM_TLS + "test_old_versions_end_at_once",
            _SYSTEM_TLS + "test_plain_http_ends_at_once",
        ),
    ),
    Fault(
        20,
        "certificates replaced under streams, also half-written",
        "new connections use the new ones, a broken pair keeps the old; no stream is lost",
        (
            _SYSTEM_TLS + "test_certificates_are_swapped_under_streams",
            _TLS + "test_a_broken_pair_keeps_the_old_one",
            _TLS + "test_a_pair_between_two_writes_is_no_failure",
        ),
    ),
    Fault(
        21,
        "model files missing, cut short or damaged",
        "the model has failed with one sentence; the front and other models serve",
        ("tests/server/test_model_faults.py",),
    ),
    Fault(
        22,
        "disk full",
        "told before and during a download; nothing half is trusted, with room it goes on",
        (
            _DOWNLOAD + "test_no_room",
            _DOWNLOAD + "test_a_disk_that_fills_up",
        ),
    ),
    Fault(
        23,
        "hub refuses, stalls, cuts or lies",
        "bounded tries, cut files go on, wrong contents are thrown away",
        ("tests/server/files/hub/test_fetch.py", "tests/server/files/hub/test_client.py"),
    ),
    Fault(
        24,
        "collector of traces down or slow",
        "no request waits for it; what is dropped is counted",
        (
            "tests/test_traces.py::test_a_collector_that_fails_costs_no_request",
            _SPANS + "test_the_end_does_not_wait_for_a_collector_that_hangs",
            _SPANS + "test_what_does_not_fit_is_dropped_and_counted",
        ),
    ),
    Fault(
        25,
        "scrape while the engine hangs, log that nobody reads",
        "metrics and health answer; the service goes on",
        (
            "tests/logs/test_unread_logs.py",
            "tests/edge/metrics/test_routes.py::test_metrics_do_not_wait_for_a_frozen_front",
        ),
        has_own=True,
    ),
    Fault(
        26,
        "clock jumps, no descriptors left, no memory left",
        "deadlines and streams go on; connections wait or are refused until descriptors are free; "
        "without memory each call is answered or the front ends, and nothing hangs",
        has_own=True,
    ),
    Fault(
        27,
        "engine floods or breaks its order",
        "its stream ends; others are not hurt",
        has_own=True,
    ),
    Fault(
        28,
        "thousands of random cancels, deadlines and mistakes",
        "every slot is free at the end; no task or descriptor stays",
        has_own=True,
    ),
    Fault(
        29,
        "one request kills each engine that computes it",
        "it alone fails, with GENERATION_FAILED; the others finish",
        ("tests/server/models/test_readmission.py",),
        has_own=True,
    ),
    Fault(
        30,
        "client lost, and back",
        "the stream is taken up where it was; nothing is told twice",
        ("tests/server/rpc/test_resume.py",),
    ),
    Fault(
        101,
        "1,000 streams, everything killed at random: scripted engine",
        "each has one end, no gap and no repetition; nothing leaks",
        has_own=True,
    ),
    Fault(
        102,
        "100 streams, everything killed at random: llama.cpp",
        "the text is that of an undisturbed run, or its beginning",
        has_own=True,
        needs_time=True,
    ),
    Fault(
        103,
        "100 streams, everything killed at random: SGLang",
        "the text is that of an undisturbed run, or its beginning",
        has_own=True,
        needs_time=True,
    ),
)
CHAOS = {"scripted": 101, "llama.cpp": 102, "SGLang": 103}
"""The numbers of the rows in which everything is killed at random, by engine."""
