# 1bit: a local serving stack for ternary language models.
#
#   make              build build/bin/{bitnet_decode,1bit-halo-server,1bit-halo-mcp,1bit-halo-pkg}
#   make demo         install what is missing, build, start the stack, ask a question
#   make check        install what the tests need, build, run unit, process and e2e tests
#   make bench        measure this machine into docs/benchmarks.md; BENCH_BIG=1, BENCH_PEERS= add to it
#   make bench-gateway    streams and probes of the gateway, as a table (needs wrk)
#   make fuzz         run every fuzz target FUZZ_RUNS times (default 20000)
#   make install      to $(DESTDIR)$(PREFIX); units to $(DESTDIR)$(UNITDIR)
#   make uninstall    remove what install put there (models and state stay)
#   make gpu-report   registers, spills and instructions of the GPU kernels
#   make doc          regenerate docs/protocol.md from the lists in proto/
#   make deps         install Debian packages for the build alone
#   make clean
#   make help         this
#
#   SAN=1             with the address and undefined-behaviour sanitizers
#   SAN=thread        with the thread sanitizer
#   V=1               show the commands
#   CC=clang          another compiler (its own build directory: B=build-clang)
#   TESTS_ONLY=word   check: only tests whose name contains the word
#   DEMO_ONCE=1       demo: exit after the answer
#   DECODE_PORT= GATEWAY_PORT= MCP_PORT= RUNTIME_DIR=    demo: where things are

PREFIX  ?= /usr/local
UNITDIR ?= /etc/systemd/system
B        = build$(if $(SAN),-san-$(SAN))
Q        = $(if $(V),,@)
JOBS    ?= $(shell nproc)
,       := ,

# A sanitizer gives every unrolled vector a place of its own.
WARN     = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
           -Wmissing-prototypes -Wconversion -Wvla -Wframe-larger-than=$(if $(SAN),32768,8192) -Werror
SAN_FLAG = $(if $(SAN),-fno-omit-frame-pointer -fsanitize=$(if $(filter thread,$(SAN)),thread,address$(,)undefined -fno-sanitize-recover=undefined))
HARDEN   = $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fstack-clash-protection -fPIE
# No contraction: a fused multiply-add where the compiler likes one would give
# the same model other logits under another compiler.
CFLAGS  ?= -O2 -g
ALL_CFLAGS = -std=c17 $(WARN) -ffp-contract=off -pthread $(HARDEN) $(SAN_FLAG) $(CFLAGS)
CPPFLAGS = -D_GNU_SOURCE -DBUILD='"$B"' -Icommon -Iproto
LDFLAGS  = -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LDLIBS   = -lnng -lcivetweb -ljansson -lsystemd -lpcre2-8 -lutf8proc -lcurl -ldl -lm

# What the CPU backend has for this architecture, the best first; a variant is the
# files cpu_<variant>*.c.  All of it is compiled in; which one runs is chosen when
# the service starts.
ARCH        ?= $(shell uname -m)
CPU_x86_64   = avx512 avxvnni avx2 scalar
CPU_aarch64  = neon scalar
CPU_VARIANTS = $(or $(CPU_$(ARCH)),scalar)
CPU_OTHERS   = $(wildcard $(patsubst %,services/decode/backend/cpu_%*.c,\
               $(filter-out $(CPU_VARIANTS),avx512 avxvnni avx2 neon scalar)))

BINS     = $(addprefix $B/bin/,bitnet_decode 1bit-halo-server 1bit-halo-mcp 1bit-halo-pkg)
COMMON   = $(patsubst %.c,$B/%.o,$(wildcard common/*.c proto/*.c))
TESTS    = $(patsubst %.c,$B/%,$(wildcard tests/unit/*.c))
SOURCES  = $(wildcard $(addsuffix /*.[ch],common proto services/* services/*/* tools tools/* tests/* tests/*/*))
FUZZERS  = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_RUNS ?= 20000

all: $(BINS)

# A service is a directory.  All of it but main.c is an archive, with which its
# tests are linked too: a test calls what the binary calls.
define service
$1_OBJS = $$(patsubst %.c,$B/%.o,$$(filter-out %/main.c $2,\
          $$(wildcard services/$1/*.c services/$1/*/*.c)))
$1_TESTS = $$(patsubst %.c,$B/%,$$(wildcard tests/unit/$1/*.c))
TESTS += $$($1_TESTS)
$B/lib$1.a: $$($1_OBJS)
$$($1_TESTS): $B/lib$1.a
$B/services/$1/% $B/tests/unit/$1/%: CPPFLAGS += -Iservices/$1
endef
$(eval $(call service,decode,$(CPU_OTHERS)))
$(eval $(call service,gateway,))
$(eval $(call service,mcp,))

$B/services/decode/backend/cpu_kernels.o: CPPFLAGS += \
        -D'CPU_VARIANTS(V)=$(foreach v,$(CPU_VARIANTS),V($v))'
# Vectors wider than the registers: nothing outside the file is passed one.
$B/services/decode/backend/cpu_scalar.o $B/services/decode/backend/cpu_scalar_head.o: WARN += -Wno-psabi
# Dot products of bytes; cpu_neon_open says whether the processor has them.
$(patsubst %.c,$B/%.o,$(wildcard services/decode/backend/cpu_neon*.c)): CPPFLAGS += -march=armv8.2-a+dotprod

# The kernels of the GPU backend, compiled for each device and put into the binary; none
# where there is no compiler for them.  GPU_VALIDATE=1 adds CUDA, for tests on such devices.
HIPCC      ?= $(shell command -v clang-22)
NVCC       ?= nvcc
GPU_AMD     = $(if $(HIPCC),gfx1151 gfx1201)
GPU_CUDA    = $(if $(GPU_VALIDATE),sm_90a)
GPU_SOURCES = $(wildcard services/decode/kernels/*)
GPU_FLAGS   = -std=c++17 -O3 -Iservices/decode/kernels
$B/services/decode/backend/gpu_code.o: CPPFLAGS += -DGPU_CODE_DIR=$B/gpu \
        -D'GPU_CODES(C)=$(foreach t,$(GPU_AMD),C($t,false)) $(foreach t,$(GPU_CUDA),C($t,true))'
$B/services/decode/backend/gpu_code.o: $(patsubst %,$B/gpu/%.co,$(GPU_AMD) $(GPU_CUDA))
$B/services/decode/backend/gpu_driver.o: CPPFLAGS += $(if $(GPU_VALIDATE),-DGPU_VALIDATE)
$B/gpu/gfx%.co: $(GPU_SOURCES)
	@mkdir -p $(@D)
	@echo "  HIP   $@"
	$Q$(HIPCC) -x hip --offload-arch=gfx$* --cuda-device-only --no-gpu-bundle-output -nogpulib \
	    -nogpuinc -ffp-contract=off -Wall -Wextra -Werror $(GPU_FLAGS) -o $@ \
	    services/decode/kernels/all.hip
$B/gpu/sm_%.co: $(GPU_SOURCES)
	@mkdir -p $(@D)
	@echo "  CUDA  $@"
	$Q$(NVCC) -x cu -gencode=arch=compute_$*,code=sm_$* -cubin --fmad=false $(GPU_FLAGS) -o $@ services/decode/kernels/all.hip

gpu-report:
	$QHIPCC=$(HIPCC) tools/gpu-report.sh

# libamdhip64 over an emulator, on which the kernels are tested without a device.
GPU_EMULATED = $(addprefix $B/gpu/,gfx11/libamdhip64.so.7 gfx12/libamdhip64.so.7 sm90/libamdhip64.so.7)
$B/gpu/gfx11/%: EMULATE = GFX11
$B/gpu/gfx12/%: EMULATE = GFX12
$B/gpu/sm90/%: EMULATE = SM90
$(GPU_EMULATED): $(GPU_SOURCES) $(wildcard tests/gpu/*)
	@mkdir -p $(@D)
	@echo "  CXX   $@"
	$Q$(CXX) -std=c++17 -O2 -g -Wall -Wextra -Werror -Wno-unused-function -fPIC -shared \
	    -fno-stack-protector -ffp-contract=off -DEMULATE_$(EMULATE) -Itests/gpu \
	    -Iservices/decode/kernels -x c++ services/decode/kernels/all.hip tests/gpu/emulator.cpp \
	    tests/gpu/driver.cpp -o $@
$(addprefix $B/tests/unit/decode/test_,gpu gpu_faults gpu_features gpu_engine gpu_measure gpu_attention gpu_whole): | \
    $(if $(SAN),,$(GPU_EMULATED))

# Process tests start the real binaries.
PROCESS_TESTS = $(patsubst %.c,$B/%,$(wildcard tests/process/test_*.c))
TESTS += $(PROCESS_TESTS)
$(PROCESS_TESTS): $(patsubst %.c,$B/%.o,$(filter-out tests/process/test_%,$(wildcard tests/process/*.c))) | $(BINS) $B/tests/fault/poison_decode
$B/tests/process/test_gpu_worker: | $(if $(SAN),,$(GPU_EMULATED))
# The worker with a fault between the engine and its record of steps.
$B/tests/fault/%: CPPFLAGS += -Iservices/decode
$B/tests/fault/poison_decode: LDFLAGS += -Wl,--wrap=step_record_write
$B/tests/fault/poison_decode: $B/services/decode/main.o $B/libdecode.a

PKG_OBJS = $(patsubst %.c,$B/%.o,$(wildcard tools/pkg/*.c))
$B/tools/pkg/%: CPPFLAGS += -Iservices/decode -Itools/pkg
$B/bin/bitnet_decode: $B/services/decode/main.o $B/libdecode.a
$B/bin/1bit-halo-server: $B/services/gateway/main.o $B/libgateway.a
$B/bin/1bit-halo-mcp: $B/services/mcp/main.o $B/libmcp.a
$B/bin/1bit-halo-pkg: $(PKG_OBJS) $B/libdecode.a
$B/bin/proto_doc: $B/tools/proto_doc.o
# Not a part of all: a measurement of the kernels alone, docs/kernels.md.
$B/tools/bench/%: CPPFLAGS += -Iservices/decode -Itools
$B/bin/head: $B/tools/bench/head.o $B/libdecode.a
$B/bin/head_stages: $B/tools/bench/head_stages.o $B/libdecode.a
$B/tools/gpu/%: CPPFLAGS += -Iservices/decode -Itools
$B/bin/gpu_bench: $(patsubst %.c,$B/%.o,$(wildcard tools/gpu/*.c)) $B/libdecode.a
$B/bin/gemv: $(patsubst %,$B/tools/bench/%.o,gemv gemv_peak gemv_formats gemv_dense) $B/libdecode.a
# The load of tools/bench/gateway.sh.
$B/bin/streams: $(patsubst %,$B/tools/bench/%.o,streams streams_bare streams_clients streams_worker)

define link
@mkdir -p $(@D)
@echo "  LD    $@"
$Q$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter-out $B/libcommon.a,$(filter %.a,$^)) $B/libcommon.a $(LDLIBS) $1
endef

$B/bin/%: $B/libcommon.a
	$(call link)
$B/tests/%: $B/tests/%.o $B/libcommon.a
	$(call link,`pkg-config --libs check`)

$B/libcommon.a: $(COMMON)
$B/lib%.a:
	@mkdir -p $(@D)
	@echo "  AR    $@"
	$Qrm -f $@ && $(AR) rcs $@ $^

$B/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$Q$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# Those with another name are not even built.
CHOSEN = $(if $(TESTS_ONLY),$(foreach t,$(TESTS),$(if $(findstring $(TESTS_ONLY),$t),$t)),$(TESTS))
tests: $(CHOSEN) $(if $(GPU_AMD)$(GPU_CUDA),$B/bin/gpu_bench)
unit: all tests
	$Qtests/run.sh $B "$(SOURCES)" $(CHOSEN)
check:
	$Qtools/deps.sh build test
	$Q$(MAKE) --no-print-directory -j$(JOBS) all tests
	$Qtests/run.sh $B "$(SOURCES)" $(CHOSEN)
deps:
	$Qtools/deps.sh build
demo:
	$Qtools/deps.sh build demo
	$Q$(MAKE) --no-print-directory -j$(JOBS) all
	$Qtools/demo.sh $B
bench: all
	$Qtools/bench/run.sh $B >$B/bench.md
	$Qtools/bench/insert.sh docs/benchmarks.md <$B/bench.md
	@cat $B/bench.md

bench-gateway: all $B/bin/streams
	$Qtools/bench/gateway.sh $B

# Fuzz targets: the parser under test with everything of ours instrumented.
FUZZ_CC  ?= clang
FUZZ_SAN  = address,undefined -fno-sanitize-recover=undefined
FUZZ_LIBS = $(patsubst %,build-fuzz/lib%.a,decode gateway mcp common)
fuzz-libs:
	$Q$(MAKE) --no-print-directory B=build-fuzz CC=$(FUZZ_CC) HARDEN= HIPCC= \
	    CFLAGS="-g -O1 -fsanitize=fuzzer-no-link,$(FUZZ_SAN)" $(FUZZ_LIBS)
ifneq ($B,build-fuzz)
$(FUZZ_LIBS): fuzz-libs
	@:	# what has not changed has its old time
else
# Kernels read nothing of others, and instrumented they take ten times as long to compile.
$B/services/decode/backend/cpu_%.o: override CFLAGS = -g -O1
endif
build-fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_LIBS)
	@echo "  FUZZ  $@"
	$Q$(FUZZ_CC) -std=c17 -g -O1 -fsanitize=fuzzer,$(FUZZ_SAN) -D_GNU_SOURCE -DBUILD='"build-fuzz"' \
	    -Icommon -Iproto -Iservices/decode -Iservices/gateway -Iservices/mcp \
	    -o $@ $< $(FUZZ_LIBS) $(LDLIBS) -lpthread
fuzz:
	$Q$(MAKE) --no-print-directory -j$(JOBS) $(FUZZERS:%=build-fuzz/%)
	$Qtests/fuzz/run.sh $(FUZZ_RUNS) $(FUZZERS:%=build-fuzz/%)

doc: $B/bin/proto_doc
	$Q$< > docs/protocol.md

install: all
	$Qdeploy/install.sh install "$B" "$(DESTDIR)" "$(PREFIX)" "$(UNITDIR)"
uninstall:
	$Qdeploy/install.sh uninstall "$B" "$(DESTDIR)" "$(PREFIX)" "$(UNITDIR)"

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
clean:
	rm -rf build build-*

.PHONY: gpu-report all tests unit check deps demo bench bench-gateway fuzz fuzz-libs doc install uninstall help clean
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
