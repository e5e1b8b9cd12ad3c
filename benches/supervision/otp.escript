#!/usr/bin/env escript
%%! +P 2000000 -kernel logger_level none
%% Measures Erlang/OTP's supervisor as benches/supervision/main.rs measures ours.
%% Prints one "name value" per line; times in microseconds.
-mode(compile).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2, start_worker/1, start_numbered/2]).

-define(CHILDREN, 100000).

%% The worker: tells whoever is named that it is up.
start_worker(Report) -> gen_server:start_link(?MODULE, {worker, Report}, []).
start_numbered(Report, _) -> start_worker(Report).

init({worker, none}) -> {ok, none};
init({worker, Report}) -> Report ! {up, self()}, {ok, none};
init({supervisor, Flags, Specs}) -> {ok, {Flags, Specs}}.

handle_call(ping, _, State) -> {reply, pong, State}.
handle_cast(crash, _) -> exit(crash).

spec(Id, Report) ->
    #{id => Id, start => {?MODULE, start_worker, [Report]}, shutdown => 5000}.

flags(Strategy) -> #{strategy => Strategy, intensity => 1000000, period => 5}.

supervisor(Strategy, Specs) ->
    {ok, S} = supervisor:start_link(?MODULE, {supervisor, flags(Strategy), Specs}),
    S.

now_us() -> erlang:monotonic_time(nanosecond) / 1000.

stop(S) ->
    unlink(S),
    M = monitor(process, S),
    exit(S, shutdown),
    receive {'DOWN', M, process, S, _} -> ok end.

print(Name, Value) -> io:format("~s ~p~n", [Name, Value]).

quantile(Sorted, Share) ->
    lists:nth(max(1, round(length(Sorted) * Share)), Sorted).

print_quantiles(Name, Samples) ->
    Sorted = lists:sort(Samples),
    print(Name ++ "_p50", quantile(Sorted, 0.5)),
    print(Name ++ "_p99", quantile(Sorted, 0.99)).

up() -> receive {up, Pid} -> Pid end.

%% From the end of a child to its successor: a fresh supervisor every hundred
%% samples, since OTP scans its list of restarts at each of them.
restarts(Name, End, Samples) ->
    Batch = fun(_) ->
        S = supervisor(one_for_one, [spec(child, self())]),
        {Times, _} = lists:mapfoldl(fun(_, Pid) -> restart_once(End, Pid) end, up(), lists:seq(1, 100)),
        stop(S),
        Times
    end,
    _ = lists:flatmap(Batch, lists:seq(1, 10)),
    print_quantiles(Name, lists:flatmap(Batch, lists:seq(1, Samples div 100))).

restart_once(End, Pid) ->
    T = now_us(),
    End(Pid),
    New = up(),
    {now_us() - T, New}.

kill(Pid) -> exit(Pid, kill).
crash(Pid) -> gen_server:cast(Pid, crash).

%% The same among many siblings: the oldest, the newest and any.
among_siblings() ->
    Self = self(),
    S = supervisor(one_for_one, []),
    Pids = [begin {ok, P} = supervisor:start_child(S, spec(N, Self)), P end || N <- lists:seq(1, ?CHILDREN)],
    [up() || _ <- Pids],
    timer:sleep(200),
    Table = list_to_tuple(Pids),
    Any = [element(rand:uniform(?CHILDREN), Table) || _ <- lists:seq(1, 300)],
    Times = [begin {T, _} = restart_once(fun kill/1, P), timer:sleep(1), T end || P <- lists:usort(Any)],
    print_quantiles("siblings", Times),
    T = now_us(),
    stop(S),
    print("shutdown_noisy", now_us() - T).

rss() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kb) * 1024.

start_and_stop_many() ->
    S = supervisor(one_for_one, []),
    Before = rss(),
    T0 = now_us(),
    [supervisor:start_child(S, spec(N, none)) || N <- lists:seq(1, ?CHILDREN)],
    T1 = now_us(),
    print("started_per_s", ?CHILDREN / (T1 - T0) * 1000000),
    timer:sleep(500),
    print("bytes_per_child", (rss() - Before) / ?CHILDREN),
    T2 = now_us(),
    stop(S),
    print("shutdown", now_us() - T2).

start_many_instances() ->
    Template = #{id => t, start => {?MODULE, start_numbered, [none]}},
    S = supervisor(simple_one_for_one, [Template]),
    T0 = now_us(),
    [supervisor:start_child(S, [N]) || N <- lists:seq(1, ?CHILDREN)],
    T1 = now_us(),
    print("instances_per_s", ?CHILDREN / (T1 - T0) * 1000000),
    T2 = now_us(),
    stop(S),
    print("instances_shutdown", now_us() - T2).

one_for_all() ->
    Self = self(),
    Once = fun(_) ->
        S = supervisor(one_for_all, [spec(N, Self) || N <- lists:seq(1, 1000)]),
        Pids = [up() || _ <- lists:seq(1, 1000)],
        T = now_us(),
        kill(hd(Pids)),
        [up() || _ <- lists:seq(1, 1000)],
        Time = now_us() - T,
        stop(S),
        Time
    end,
    print_quantiles("one_for_all", [Once(N) || N <- lists:seq(1, 40)]).

calls() ->
    {ok, Pid} = start_worker(none),
    Count = 1000000,
    Loop = fun Loop(0) -> ok; Loop(N) -> pong = gen_server:call(Pid, ping), Loop(N - 1) end,
    Loop(100000),
    T = now_us(),
    Loop(Count),
    print("calls_per_s", Count / (now_us() - T) * 1000000).

%% The caller and the called each bound to a scheduler, hence a thread, of its own, as ours on two arbiters.
remote_calls() ->
    Far = min(2, erlang:system_info(schedulers_online)),
    {ok, Pid} = gen_server:start_link(?MODULE, {worker, none}, [{spawn_opt, [{scheduler, Far}]}]),
    Self = self(),
    Count = 100000,
    Loop = fun Loop(0) -> ok; Loop(N) -> pong = gen_server:call(Pid, ping), Loop(N - 1) end,
    Call = fun() ->
        Loop(10000),
        T = now_us(),
        Loop(Count),
        Self ! {rate, Count / (now_us() - T) * 1000000}
    end,
    spawn_opt(Call, [{scheduler, 1}, link]),
    receive {rate, Rate} -> print("remote_calls_per_s", Rate) end.

main(_) ->
    process_flag(trap_exit, true),
    restarts("kill", fun kill/1, 20000),
    restarts("crash", fun crash/1, 20000),
    one_for_all(),
    calls(),
    remote_calls(),
    start_and_stop_many(),
    start_many_instances(),
    among_siblings().
